/** What Temporal is told of an attempt that ends badly. */
import { expect, test } from '@jest/globals';
import { ApplicationFailure, CancelledFailure, type Context } from '@temporalio/activity';
import { endedFromOutside, mapErrors } from '../../activities/failure.ts';
import { CheckpointLoadError, WORKER_STOPPED } from '../../src/errors.ts';

/** What the second attempt of an activity fails with, that was told to end for `reason` where that is not null. */
async function failureOf(thrown: unknown, reason: string | null): Promise<unknown> {
  const abort = new AbortController();
  if (reason !== null) abort.abort(new CancelledFailure(reason));
  const context = { cancellationSignal: abort.signal, info: { attempt: 2, heartbeatDetails: undefined } } as unknown as Context;
  const execute = mapErrors(context).inbound!.execute!;
  return execute({ args: [], headers: {} }, () => Promise.reject(thrown)).catch((error: unknown) => error);
}

test.each([
  ['the cancellation itself', new CancelledFailure('WORKER_SHUTDOWN')],
  ['an error that it led to', new Error('aborted')],
  ['a failure of a plug-in', ApplicationFailure.nonRetryable('gone')],
])('an attempt whose worker is stopped is tried again, and says so with its record: %s', async (_, thrown) => {
  const failure = await failureOf(thrown, 'WORKER_SHUTDOWN');
  expect(failure).toBeInstanceOf(ApplicationFailure);
  expect(failure).toMatchObject({
    type: 'CheckpointError',
    nonRetryable: false,
    message: 'The worker was stopped before this attempt had ended.',
    details: [
      { reason: WORKER_STOPPED },
      {
        attempt: 2,
        attempts: [
          { attempt: 1, outcome: 'lost' },
          { attempt: 2, outcome: 'failed' },
        ],
      },
    ],
  });
});

test('a cancellation, and what else the server ends an attempt for, goes on as the SDK gave it', async () => {
  expect(await failureOf(new Error('aborted'), 'CANCELLED')).toMatchObject({ name: 'CancelledFailure', message: 'CANCELLED' });
  expect(await failureOf(new Error('aborted'), 'PAUSED')).toMatchObject({ name: 'CancelledFailure', message: 'PAUSED' });
});

test('an error of ours keeps its code, and whether it is final', async () => {
  expect(await failureOf(new CheckpointLoadError('cut', '/a.ckpt'), null)).toMatchObject({
    type: 'CheckpointLoadError',
    nonRetryable: true,
  });
});

test.each([
  ['WORKER_SHUTDOWN', 'The worker was stopped before this attempt had ended.'],
  ['PAUSED', 'The activity was paused before this attempt had ended.'],
  ['RESET', 'The activity was reset before this attempt had ended.'],
])('the record of an attempt says what ended it: %s', (reason, message) => {
  expect(endedFromOutside(AbortSignal.abort(new CancelledFailure(reason)))).toMatchObject({ message });
  expect(endedFromOutside(AbortSignal.abort(new CancelledFailure('CANCELLED')))).toBeNull();
});
