/**
 * Asking a store again: exponential backoff with jitter, bounded in tries whatever the store answers.
 *
 * These tries are for what passes in seconds. What lasts longer fails the attempt of the stage, and Temporal tries that again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { STALLED, StoreFault } from './store-fault.ts';

export interface RetryPolicy {
  /** Tries in all, the first one included. */
  readonly tries: number;
  /** Milliseconds before the second try; doubles with each, half of it random. */
  readonly pauseMs: number;
  /** Longest pause in milliseconds. A store that asks for a longer one fails the attempt, which comes again that much later. */
  readonly longestMs: number;
  /** Milliseconds without progress after which a transfer counts as stalled. */
  readonly stallMs: number;
  /** Tries in all that may stall; default: all of them. */
  readonly stallTries?: number;
  /** Bytes per second below which sending or copying a part counts as stalled: how far that is, only its end tells. */
  readonly leastRate: number;
}

export const RETRY: RetryPolicy = { tries: 6, pauseMs: 250, longestMs: 20_000, stallMs: 30_000, leastRate: 256 * 1024 };

/** Calls `attempt` until it gives a result, throws what is not a retryable `StoreFault`, or the tries are used up. */
export async function retrying<T>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  attempt: (tried: number) => Promise<T>,
): Promise<T> {
  let stalls = 0;
  for (let tried = 1; ; tried++) {
    signal?.throwIfAborted();
    try {
      return await attempt(tried);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof StoreFault)) throw error;
      error.attempts = tried;
      if (!error.retryable || tried >= policy.tries) throw error;
      if (error.code === STALLED && ++stalls === policy.stallTries) throw error;
      if ((error.retryAfterMs ?? 0) > policy.longestMs) throw error;
      await pause(Math.max(error.retryAfterMs ?? 0, pauseBefore(policy, tried)), signal);
    }
  }
}

/** Half of it fixed, half random, so that workers that failed together do not come again together. */
function pauseBefore({ pauseMs, longestMs }: RetryPolicy, tried: number): number {
  const most = Math.min(longestMs, pauseMs * 2 ** (tried - 1));
  return most / 2 + (Math.random() * most) / 2;
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  });
}
