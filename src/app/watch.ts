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
export async function* changes<T>(look: () => Promise<Look<T>>, { interval = 1000, signal }: WatchOptions): AsyncGenerator<T, void, void> {
  let before = '';
  // A look may wait for an answer that nobody gives.
  const stopped = new Promise<null>((resolve) => signal?.addEventListener('abort', () => resolve(null), { once: true }));
  while (signal?.aborted !== true) {
    const looking = look();
    looking.catch(() => undefined);
    const seen = await Promise.race([looking, stopped]);
    if (seen === null) return;
    const { state, ended } = seen;
    const now = JSON.stringify(state);
    if (state !== null && now !== before) yield state;
    if (ended) return;
    before = now;
    await sleep(interval, undefined, { signal }).catch(() => undefined);
  }
}
