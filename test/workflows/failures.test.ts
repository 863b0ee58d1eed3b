/** What a workflow makes of the end of an activity. */
import { expect, test } from '@jest/globals';
import { ApplicationFailure, TimeoutFailure } from '@temporalio/common';
import { reportOfFailure } from '../../workflows/failures.ts';

test('of a worker that is not heard of any more, all that may have come over it is named; a larger time limit helps others', () => {
  expect(reportOfFailure(new TimeoutFailure('m', null, 'HEARTBEAT'))).toEqual({
    type: 'CheckpointTimeoutError',
    message: expect.stringMatching(/\(HEARTBEAT\)\. .*is it running\? .*killed \(out of memory\).*too busy\.$/),
    details: { operation: 'stage', timeout_type: 'HEARTBEAT' },
  });
  expect(reportOfFailure(new TimeoutFailure('m', null, 'START_TO_CLOSE')).message).toContain('A larger `timeout` may help.');
});

test('every failure has a code of ours; of another type, that stands in the details', () => {
  const failure = ApplicationFailure.create({ message: 'm', type: 'PayloadsTooLarge', details: [{ bytes: 3 }] });
  expect(reportOfFailure(failure)).toEqual({
    type: 'CheckpointError',
    message: 'm',
    details: { error_type: 'PayloadsTooLarge', bytes: 3 },
  });
  const own = ApplicationFailure.create({ message: 'm', type: 'CheckpointLoadError', details: [{ path: '/a' }] });
  expect(reportOfFailure(own)).toEqual({ type: 'CheckpointLoadError', message: 'm', details: { path: '/a' } });
});

test('a worker that was stopped before it could say so is told as that', () => {
  expect(reportOfFailure(ApplicationFailure.create({ message: 'm', type: 'WorkerShutdown' }))).toMatchObject({
    type: 'CheckpointError',
    details: { reason: 'worker_stopped', error_type: 'WorkerShutdown' },
  });
});
