/** What a workflow makes of the end of an activity. */
import { expect, test } from '@jest/globals';
import { TimeoutFailure } from '@temporalio/common';
import { reportOfFailure } from '../../workflows/failures.ts';

test('of a worker that is not heard of any more, all that may have come over it is named; a larger time limit helps others', () => {
  expect(reportOfFailure(new TimeoutFailure('m', null, 'HEARTBEAT'))).toEqual({
    type: 'CheckpointTimeoutError',
    message: expect.stringMatching(/\(HEARTBEAT\)\. .*is it running\? .*killed \(out of memory\).*too busy\.$/),
    details: { operation: 'stage', timeout_type: 'HEARTBEAT' },
  });
  expect(reportOfFailure(new TimeoutFailure('m', null, 'START_TO_CLOSE')).message).toContain('A larger `timeout` may help.');
});
