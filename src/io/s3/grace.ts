/** Requests that a store carries out whether or not somebody still waits for the answer. */

/** How long an answer is awaited after the caller gave up, in milliseconds: the store carries the request out whether or not we listen. Shorter than `ABANDONED_AFTER`. */
const GRACE = 2000;

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
