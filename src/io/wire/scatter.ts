/** Memory in several pieces, filled one after the other as bytes come. */
export interface Scatter {
  /** Bytes that still fit. */
  readonly left: number;
  /** Where the next bytes may be written, `most` at most; null: into memory that `take` copies from, as the pieces are small. */
  room(most: number): Uint8Array | null;
  /** These came, `left` at most; those that were written to `room` are in their place already. */
  take(bytes: Uint8Array): void;
}

/** Less room than this would take more reads than its bytes are worth. */
const ROOM_LEAST = 16 * 1024;

/** `from`: so many bytes are there already. */
export function scatter(targets: readonly Uint8Array[], from = 0): Scatter {
  let index = 0;
  let at = 0;
  let left = lengthOf(targets);

  function pass(count: number): void {
    left -= count;
    at += count;
    for (let piece = targets[index]; piece !== undefined && at >= piece.length; piece = targets[++index]) at -= piece.length;
  }

  pass(from);
  return {
    get left() {
      return left;
    },
    room(most) {
      const piece = targets[index];
      return piece === undefined || piece.length - at < ROOM_LEAST ? null : piece.subarray(at, at + most);
    },
    take(bytes) {
      for (let done = 0; done < bytes.length;) {
        const piece = targets[index]!;
        const some = bytes.subarray(done, done + piece.length - at);
        if (some.buffer !== piece.buffer || some.byteOffset !== piece.byteOffset + at) piece.set(some, at);
        done += some.length;
        pass(some.length);
      }
    },
  };
}

export function lengthOf(targets: readonly Uint8Array[]): number {
  return targets.reduce((sum, { length }) => sum + length, 0);
}
