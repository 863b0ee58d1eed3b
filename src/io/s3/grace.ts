/** Requests that a store carries out whether or not somebody still waits for the answer. */

/** Milliseconds, fewer than aborted work has to end, that a store has to answer when nobody wants the answer any more: what it was asked for, it does. */
const GRACE = 2000;

/** Who hung up at once would clean up before the store has done it, and leave what comes then. */
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
