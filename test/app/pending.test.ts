/** What the server tells of activities under way. */
import { expect, test } from '@jest/globals';
import { defaultPayloadConverter } from '@temporalio/common';
import { retryingText } from '../../src/app/cli/progress.ts';
import { retryingOf, transferOf } from '../../src/app/pending.ts';

type Described = Parameters<typeof transferOf>[0];

function described(...pendingActivities: readonly object[]): Described {
  return { raw: { pendingActivities } } as unknown as Described;
}

function heartbeat(details: unknown): Described {
  return described({ heartbeatDetails: { payloads: [defaultPayloadConverter.toPayload(details)] } });
}

test('the bytes of a transfer, out of the last heartbeat', () => {
  expect(transferOf(heartbeat({ offset: 5, size: 9, sha256: 'x' }))).toEqual({ offset: 5, size: 9 });
});

test.each([
  ['no activity', described()],
  ['one that has not been heard of', described({})],
  ['a heartbeat of nothing', heartbeat(undefined)],
  ['null', heartbeat(null)],
  ['another heartbeat', heartbeat('working')],
  [
    'bytes of a codec',
    described({ heartbeatDetails: { payloads: [{ metadata: { encoding: Buffer.from('own/codec') }, data: Buffer.of(1) }] } }),
  ],
])('%s is not a transfer', (_name, run) => {
  expect(transferOf(run)).toBeNull();
});

test('what an operator has paused is told as that, before what fails', () => {
  const failing = { activityType: { name: 'source.s3' }, attempt: 7, lastFailure: { message: 'away' } };
  const paused = { activityType: { name: 'sink.publish' }, attempt: 2, paused: true, lastFailure: { message: 'Activity paused' } };
  const told = retryingOf(described(failing, { ...paused, pauseInfo: { manual: { identity: 'ann@desk', reason: 'disk swap' } } }))!;
  expect(told).toMatchObject({ activity: 'sink.publish', paused: { by: 'ann@desk', reason: 'disk swap' } });
  expect(retryingText(told)).toBe(
    'sink.publish was paused by ann@desk (disk swap) before attempt 2: `temporal activity unpause` lets it go on',
  );
  // Before it has ever failed, and by a server that says no more.
  expect(retryingOf(described({ activityType: { name: 'sink.publish' }, paused: true }))).toEqual({
    activity: 'sink.publish',
    attempt: 1,
    error: '',
    paused: { by: null, reason: null },
  });
});

test('what is retried is what has failed most often, with its last failure', () => {
  const failing = (name: string, attempt: number, message: string): object => ({
    activityType: { name },
    attempt,
    lastFailure: { message },
  });
  expect(retryingOf(described({ activityType: { name: 'sink.publish' }, attempt: 1 }))).toBeNull();
  const run = described(failing('batch.page', 2, 'a'), failing('batch.record', 5, 'the store is away'));
  expect(retryingOf(run)).toEqual({ activity: 'batch.record', attempt: 5, error: 'the store is away' });
  expect(retryingOf(described(failing('source.s3', 2, 'x'.repeat(400))))!.error).toBe(`${'x'.repeat(300)}…`);
  expect(retryingOf(described(failing('source.s3', 2, `${'x'.repeat(299)}🚀`)))!.error).toBe(`${'x'.repeat(299)}…`);
});
