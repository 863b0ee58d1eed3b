/** Between two pieces of work that each take seconds for a file of half a million tensors: what waits for its time gets it, above all heartbeats. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes or characters of a blob from which on work on it is long. */
export const LONG_WORK = 2 ** 20;

/** Timers that are due run first, which an immediate would not let them. */
export function breath(): Promise<void> {
  return sleep(0);
}

/** The end of work that yields between its slices: others are let in there, and an attempt that is over ends. */
export async function inSlices<T>(work: Generator<void, T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await breath();
    signal.throwIfAborted();
  }
}
