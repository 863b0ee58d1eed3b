/** A number of bytes that all transfers of a process share: who wants more than is left waits its turn. */

export interface ByteBudget {
  /** Resolves once `bytes` are granted; call what it gives to hand them back. More than the whole budget counts as all of it. */
  take(bytes: number, signal: AbortSignal): Promise<() => void>;
}

export function byteBudget(limit: number): ByteBudget {
  let left = limit;
  const waiting: { readonly bytes: number; readonly grant: () => void }[] = [];

  function serve(): void {
    for (let first = waiting[0]; first !== undefined && first.bytes <= left; first = waiting[0]) {
      waiting.shift();
      left -= first.bytes;
      first.grant();
    }
  }

  return {
    async take(wanted, signal) {
      signal.throwIfAborted();
      const bytes = Math.min(wanted, limit);
      await new Promise<void>((resolve, reject) => {
        const aborted = (): void => {
          waiting.splice(waiting.indexOf(entry), 1);
          reject(signal.reason as Error);
          serve();
        };
        const entry = {
          bytes,
          grant: () => {
            signal.removeEventListener('abort', aborted);
            resolve();
          },
        };
        signal.addEventListener('abort', aborted, { once: true });
        waiting.push(entry);
        serve();
      });
      let returned = false;
      return () => {
        if (returned) return;
        returned = true;
        left += bytes;
        serve();
      };
    },
  };
}
