/**
 * Memory for parts on their way to stores, of a bounded number of bytes that all transfers of a process share: who wants more than
 * is left waits its turn.
 *
 * Memory that is handed back is kept for the next part of that length, within the bound, and let go when nobody holds any.
 */

export interface PartMemory {
  /** The bound in bytes. */
  readonly limit: number;
  /** Resolves when the memory is available, shared between threads, with undefined contents. A request above `limit` waits until it has all of it. */
  take(length: number, signal: AbortSignal): Promise<Part>;
}

export interface Part {
  readonly bytes: Uint8Array;
  /** Hands it back; the second time does nothing. */
  release(): void;
}

export function partMemory(limit: number): PartMemory {
  const spare: Uint8Array[] = [];
  const waiting: { readonly length: number; readonly grant: (bytes: Uint8Array) => void }[] = [];
  /** Bytes that are handed out, and those with what is kept. */
  let taken = 0;
  let held = 0;

  const cost = (length: number): number => Math.min(length, limit);

  function serve(): void {
    for (let first = waiting[0]; first !== undefined && taken + cost(first.length) <= limit; first = waiting[0]) {
      waiting.shift();
      taken += cost(first.length);
      first.grant(memoryOf(first.length));
    }
  }

  function memoryOf(length: number): Uint8Array {
    const known = spare.findIndex((each) => each.length === length);
    if (known >= 0) return spare.splice(known, 1)[0]!;
    while (held + cost(length) > limit && spare.length > 0) held -= cost(spare.shift()!.length);
    held += cost(length);
    return new Uint8Array(new SharedArrayBuffer(length));
  }

  function giveBack(bytes: Uint8Array): void {
    taken -= cost(bytes.length);
    spare.push(bytes);
    serve();
    if (taken > 0) return;
    spare.length = 0;
    held = 0;
  }

  return {
    limit,
    async take(length, signal) {
      signal.throwIfAborted();
      const bytes = await new Promise<Uint8Array>((resolve, reject) => {
        const aborted = (): void => {
          waiting.splice(waiting.indexOf(entry), 1);
          reject(signal.reason as Error);
          serve();
        };
        const entry = {
          length,
          grant: (granted: Uint8Array) => {
            signal.removeEventListener('abort', aborted);
            resolve(granted);
          },
        };
        signal.addEventListener('abort', aborted, { once: true });
        waiting.push(entry);
        serve();
      });
      let returned = false;
      return {
        bytes,
        release() {
          if (returned) return;
          returned = true;
          giveBack(bytes);
        },
      };
    },
  };
}
