/**
 * How much a worker takes on at a time.
 *
 * Invariant: transfers (activities that move tensor bytes) and light activities are counted apart, so that neither waits for the
 * other; what transfers hold together stays within the memory that the worker may use.
 */
import { CheckpointConfigError } from '../errors.ts';
import { formatBytes, formatCount } from '../model/text.ts';

const MIB = 2 ** 20;
/** Node, the SDK, its cache of workflows, and what is parsed of an ordinary header: measured with an idle worker and a busy one. */
const BASE = 256 * MIB;
/** A strided tensor's window, and the blocks in flight. */
const PER_TRANSFER = 100 * MIB;
/** Parts on their way to stores, of all transfers together. */
const UPLOADS = 256 * MIB;
const TRANSFERS = 4;
/** As many as the SDK takes by default. */
const ACTIVITIES = 100;

export interface Capacity {
  /** Activities at a time that move bytes; 0: none are taken. */
  readonly transfers: number;
  /** Other activities at a time; 0: this worker takes none, and runs no workflows. */
  readonly activities: number;
  /** Bytes of parts on their way to stores. */
  readonly uploads: number;
  /** Resident bytes of the process above which it runs one activity at a time of each queue; null: any number, whatever they are. */
  readonly memory: number | null;
}

export const DEFAULT_CAPACITY: Capacity = { transfers: TRANSFERS, activities: ACTIVITIES, uploads: UPLOADS, memory: null };

export interface CapacityOptions {
  readonly transfers: number | null;
  readonly activities: number | null;
  /** Bytes. */
  readonly memory: number | null;
}

/** What fits; a `CheckpointConfigError` where that is nothing, or less than was asked for. */
export function capacityOf({ transfers, activities, memory }: CapacityOptions): Capacity {
  if (transfers === 0 && activities === 0)
    throw new CheckpointConfigError('`--transfers 0` and `--activities 0` leave this worker nothing to do.');
  const asked = { ...DEFAULT_CAPACITY, activities: activities ?? ACTIVITIES, memory };
  if (memory === null) return { ...asked, transfers: transfers ?? TRANSFERS };
  const room = memory - BASE;
  const uploads = Math.min(UPLOADS, Math.ceil(room / 3));
  const fit = Math.floor((room - uploads) / PER_TRANSFER);
  const least = Math.max(1, transfers ?? 1);
  if (fit < least) {
    const needed = leastMemory(least);
    throw new CheckpointConfigError(
      `\`--memory\` is ${formatBytes(memory)}; a worker with ${formatCount(least, 'transfer')} at a time takes ${formatBytes(needed)}. Give more memory, or fewer \`--transfers\`.`,
      undefined,
      { details: { memory, needed, transfers: least } },
    );
  }
  return { ...asked, transfers: transfers ?? Math.min(TRANSFERS, fit), uploads };
}

/** For so many transfers. */
function leastMemory(transfers: number): number {
  const copies = transfers * PER_TRANSFER;
  return BASE + Math.min(copies * 1.5, copies + UPLOADS);
}
