/**
 * Slots of a worker's activities under a bound of memory: a new task is asked for only while the process is below it.
 *
 * Invariant: one task may always run, however large the process has grown; else a worker that once was large would never work again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ActivitySlotInfo, CustomSlotSupplier, SlotPermit } from '@temporalio/worker';

/** Milliseconds between looks at the memory while it is above the bound. */
const LOOK = 100;

export function boundedSlots(most: number, full: () => boolean): CustomSlotSupplier<ActivitySlotInfo> {
  let taken = 0;
  const tryReserve = (): SlotPermit | null => {
    if (taken >= most || (taken > 0 && full())) return null;
    taken++;
    return {};
  };
  return {
    type: 'custom',
    async reserveSlot(_context, signal) {
      for (;;) {
        const permit = tryReserve();
        if (permit !== null) return permit;
        await sleep(LOOK);
        // The SDK takes its own reason alone for an orderly end.
        signal.throwIfAborted();
      }
    },
    tryReserveSlot: tryReserve,
    markSlotUsed: () => undefined,
    releaseSlot: () => void taken--,
  };
}

/** Resident bytes of this process. */
export function residentBytes(): number {
  return process.memoryUsage.rss();
}
