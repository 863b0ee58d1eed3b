/** What is known of attempts, from the heartbeat of the one before. */
import { expect, test } from '@jest/globals';
import { attemptsBefore, endedAttempt, isLastAttempt, lostAttempt, progressIn, withAttempts } from '../../activities/attempts.ts';

const failed = (attempt: number) => endedAttempt(attempt, '2026-01-01T00:00:00.000Z', { type: 'CheckpointSourceError', message: 'away' });
const outcomes = (details: unknown, attempt: number): unknown => attemptsBefore(details, attempt).map((one) => [one.attempt, one.outcome]);

test('the first attempt has none before it', () => {
  expect(attemptsBefore(undefined, 1)).toEqual([]);
});

test('an attempt that failed, one that was lost after its first pulse, and one that was lost before it', () => {
  const details = withAttempts({ offset: 3, size: 9 }, [failed(1), lostAttempt(2, '2026-01-01T00:00:05.000Z')]);
  expect(outcomes(details, 4)).toEqual([
    [1, 'failed'],
    [2, 'lost'],
    [3, 'lost'],
  ]);
  expect(progressIn(details)).toEqual({ offset: 3, size: 9 });
});

test('a heartbeat without progress is none for the stage', () => {
  expect(progressIn(withAttempts(undefined, [failed(1)]))).toBeUndefined();
  expect(progressIn(null)).toBeUndefined();
});

test('of many attempts the first and the last ones are kept, however often they are handed on', () => {
  let details: unknown;
  for (let attempt = 1; attempt <= 500; attempt++)
    details = withAttempts(undefined, [...attemptsBefore(details, attempt), failed(attempt)]);
  const kept = attemptsBefore(details, 501).map(({ attempt }) => attempt);
  expect([kept[0], kept.at(-1)]).toEqual([1, 500]);
  expect(kept.length).toBeLessThan(10);
  expect(attemptsBefore(undefined, 1_000_000).length).toBeLessThan(10);
});

test('which attempt is the last one, the policy tells, where there is one with an end', () => {
  expect([1, 2, 3].map((attempt) => isLastAttempt(attempt, { maximumAttempts: 3 }))).toEqual([false, false, true]);
  expect([undefined, {}, { maximumAttempts: 0 }].map((policy) => isLastAttempt(100, policy))).toEqual([false, false, false]);
});
