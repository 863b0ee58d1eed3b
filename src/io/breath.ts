/** Yields to the event loop between long synchronous steps, so that heartbeats are sent. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes or characters of a blob from which on work on it is long. */
export const LONG_WORK = 2 ** 20;

/** Timers that are due run first, which an immediate would not let them. */
export function breath(): Promise<void> {
  return sleep(0);
}

/** Runs a generator to its end with a breath after each slice; throws between slices if the attempt is over. */
export async function inSlices<T>(work: Generator<void, T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await breath();
    signal.throwIfAborted();
  }
}
