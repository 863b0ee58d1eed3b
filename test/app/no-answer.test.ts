import { expect, test } from '@jest/globals';
import { ServiceError } from '@temporalio/client';
import { isUnanswered } from '../../src/app/no-answer.ts';

/** As the client throws what gRPC has said. */
const failed = (code: number, details: string): ServiceError =>
  new ServiceError('Failed to query Workflow', { cause: Object.assign(new Error(details), { code, details, metadata: {} }) });

test.each([
  [4, 'Deadline exceeded after 9.997s,LB pick: 0.002s'],
  [4, 'query timed out before a worker could process it'],
  [1, 'Call cancelled'],
  [9, 'no poller seen for task queue recently, worker may be down'],
  [9, 'Workflow state is not ready to handle the request.'],
  [9, 'Workflow task is not scheduled yet.'],
  [9, 'Unable to query workflow due to Workflow Task in failed state.'],
])('%i %s: no worker has answered', (code, details) => {
  expect(isUnanswered(failed(code, details))).toBe(true);
});

test.each([
  [14, 'connection refused'],
  [5, 'workflow not found'],
  [7, 'no permission'],
  [9, 'Namespace is not active'],
])('%i %s: something else is wrong', (code, details) => {
  expect(isUnanswered(failed(code, details))).toBe(false);
});

test('what is not an answer of gRPC at all is something else', () => {
  expect(isUnanswered(new Error('Call cancelled'))).toBe(false);
  expect(isUnanswered(undefined)).toBe(false);
});
