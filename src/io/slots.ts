/** A fixed number of slots: what takes memory or disk takes turns. */

export interface Slots {
  /** Runs `work` once a slot is free; the signal ends the wait, not the work. */
  use<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** The same for what ends elsewhere: gives what hands the slot back, which does so once. */
  hold(signal: AbortSignal): Promise<() => void>;
}

export function slots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  const next = (): void => {
    const first = waiting.shift();
    if (first === undefined) free++;
    else first();
  };

  async function take(signal: AbortSignal): Promise<void> {
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
        waiting.splice(waiting.indexOf(granted), 1);
        reject(signal.reason as Error);
      };
      waiting.push(granted);
      signal.addEventListener('abort', aborted, { once: true });
    });
  }

  return {
    async hold(signal) {
      await take(signal);
      let held = true;
      return () => {
        if (held) next();
        held = false;
      };
    },
    async use(work, signal) {
      await take(signal);
      try {
        return await work();
      } finally {
        next();
      }
    },
  };
}
