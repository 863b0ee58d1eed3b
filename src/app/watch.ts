/** Looking at a run until it has ended. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface WatchOptions {
  /** Milliseconds between looks; default 1000. */
  readonly interval?: number;
  /** Ends the watching, not the run. */
  readonly signal?: AbortSignal;
}

/** What a look has seen; `state` is null where nobody could tell. */
export interface Look<T> {
  readonly state: T | null;
  readonly ended: boolean;
}

/** Every state that differs from the one before it, up to that in which the run has ended. */
export async function* changes<T>(
  look: (signal: AbortSignal) => Promise<Look<T>>,
  { interval = 1000, signal }: WatchOptions,
): AsyncGenerator<T, void, void> {
  let before = '';
  while (signal?.aborted !== true) {
    const seen = await untilStopped(look, signal);
    if (seen === null) return;
    const { state, ended } = seen;
    const now = JSON.stringify(state);
    if (state !== null && now !== before) yield state;
    if (ended) return;
    before = now;
    await sleep(interval, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * Null once the signal is aborted: a look may wait for an answer that nobody gives. Each has a signal and a promise of its own, as
 * whoever listens to those of the whole watch would hold on to every look.
 */
async function untilStopped<T>(look: (signal: AbortSignal) => Promise<T>, signal: AbortSignal | undefined): Promise<T | null> {
  const own = new AbortController();
  const stop = (): void => own.abort();
  const stopped = new Promise<null>((resolve) => own.signal.addEventListener('abort', () => resolve(null)));
  signal?.addEventListener('abort', stop);
  try {
    const looking = look(own.signal);
    looking.catch(() => undefined);
    return await Promise.race([looking, stopped]);
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}
