/** Time for what goes on when nobody waits any more: requests that a store carries out all the same, and cleaning up. */

/** How long an answer is awaited after the caller gave up, in milliseconds: the store carries the request out whether or not we listen. Shorter than `ABANDONED_AFTER`. */
const GRACE = 2000;
/** Milliseconds to clean up after a cancellation: who waits for it does not wait for a store that stalls; the run discards once more. */
const CANCELLED_CLEANUP = 3000;
/** The same after a failure. */
const FAILED_CLEANUP = 30_000;

/** Ends what is cleaned up after work that `signal` has ended, or a failure. */
export function cleanupLimit(signal: AbortSignal | undefined, cancelledMs = CANCELLED_CLEANUP): AbortSignal {
  return AbortSignal.timeout(signal?.aborted === true ? cancelledMs : FAILED_CLEANUP);
}

/** A request whose effect must be known before anything is cleaned up: an abort takes effect after `GRACE` only. */
export async function withGrace<T>(signal: AbortSignal, ask: (late: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => void (timer = setTimeout(() => late.abort(signal.reason), GRACE));
  if (signal.aborted) wait();
  else signal.addEventListener('abort', wait, { once: true });
  try {
    return await ask(late.signal);
  } finally {
    signal.removeEventListener('abort', wait);
    clearTimeout(timer);
  }
}
