/** A fixed number of slots: what takes memory or disk takes turns. */

export interface Slots {
  /** Runs `work` once a slot is free; the signal ends the wait, not the work. */
  use<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** The same for what ends elsewhere: gives what hands the slot back, which does so once. Who waits with a higher `rank` comes first; of one rank, who came first. */
  hold(signal: AbortSignal, rank?: number): Promise<() => void>;
}

export function slots(count: number): Slots {
  let free = count;
  const waiting: { readonly rank: number; readonly granted: () => void }[] = [];
  const next = (): void => {
    const first = waiting.shift();
    if (first === undefined) free++;
    else first.granted();
  };

  async function take(signal: AbortSignal, rank: number): Promise<void> {
    signal.throwIfAborted();
    if (free > 0) {
      free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const granted = (): void => {
        signal.removeEventListener('abort', aborted);
        resolve();
      };
      const aborted = (): void => {
        waiting.splice(waiting.indexOf(entry), 1);
        reject(signal.reason as Error);
      };
      const entry = { rank, granted };
      const behind = waiting.findIndex((other) => other.rank < rank);
      waiting.splice(behind < 0 ? waiting.length : behind, 0, entry);
      signal.addEventListener('abort', aborted, { once: true });
    });
  }

  return {
    async hold(signal, rank = 0) {
      await take(signal, rank);
      let held = true;
      return () => {
        if (held) next();
        held = false;
      };
    },
    async use(work, signal) {
      await take(signal, 0);
      try {
        return await work();
      } finally {
        next();
      }
    },
  };
}
