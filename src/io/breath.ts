/** Between two pieces of work that each take seconds for a file of half a million tensors: what waits for its time gets it, above all heartbeats. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes or characters of a blob from which on work on it is long. */
export const LONG_WORK = 2 ** 20;

/** Timers that are due run first, which an immediate would not let them. */
export function breath(): Promise<void> {
  return sleep(0);
}
