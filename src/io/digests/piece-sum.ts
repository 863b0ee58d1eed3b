/**
 * The CRC-32 of a byte string that comes in pieces, in any order, some of them more than once.
 *
 * What each piece brings to the sum of the whole depends on how many bytes stand behind it and on nothing else (`shiftCrc32`), so no
 * byte is kept. Invariant: each byte of the whole counts once, the first time it comes; the sum is told when all have come.
 */
import { JOIN_FROM, joinCrc32, shiftCrc32 } from './crc32-join.ts';
import { crc32Of } from './crc32.ts';

/** Stretches that are known apart; of a string that comes in more of them, nothing is told, so that memory is bounded. */
const APART_MOST = 64 * 1024;

/** Bytes of the string. */
export interface Stretch {
  readonly offset: number;
  readonly length: number;
}

export interface PieceSum {
  /** Adds bytes `from` to `to` of `bytes`, which stand at `offset` of the string. `own`: their CRC-32, where it is known. */
  add(offset: number, bytes: Uint8Array, from: number, to: number, own?: number): void;
  /** Of all bytes; undefined while some have not come. */
  whole(): number | undefined;
  /** What has not come, in order; null: it came in so many pieces that nothing is told of it. */
  missing(): readonly Stretch[] | null;
}

/** Of a string of `length` bytes. */
export function pieceSum(length: number): PieceSum {
  /** What has come, in order and without overlap; two may touch, as they become one only where there would be too many. */
  let starts: number[] = [];
  let ends: number[] = [];
  let left = length;
  let total = 0;
  let isTorn = false;
  /** The piece that came last, with those before it that it goes on; `at`: its place among what has come. Of nothing at the start. */
  let at = -1;
  let runEnd = -1;
  let runSum = 0;

  /** The last stretch that begins at or before `offset`; -1: none does. */
  function placeOf(offset: number): number {
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  function endRun(): void {
    if (runEnd > 0) total ^= shiftCrc32(runSum, length - runEnd);
    runEnd = -1;
  }

  /** Takes bytes that have not come before; stretch `place` is the last in front of them. */
  function take(place: number, offset: number, bytes: Uint8Array, from: number, to: number, own: number | undefined): void {
    const end = offset + to - from;
    if (offset === runEnd) {
      runSum = own !== undefined && to - from >= JOIN_FROM ? joinCrc32(runSum, own, to - from) : crc32Of(bytes, from, to, runSum);
      ends[at] = end;
    } else {
      if (place >= 0 && ends[place] === offset) ends[(at = place)] = end;
      else {
        at = place + 1;
        // Pieces that come from the last to the first would else be as many stretches, each put in front of all others.
        if (starts[at] === end) starts[at] = offset;
        else {
          starts.splice(at, 0, offset);
          ends.splice(at, 0, end);
        }
      }
      endRun();
      runSum = own ?? crc32Of(bytes, from, to);
    }
    runEnd = end;
    left -= to - from;
  }

  /** Makes one of those that touch. */
  function joinTouching(): void {
    endRun();
    const last = ends.filter((end, index) => end !== starts[index + 1]);
    starts = starts.filter((start, index) => start !== ends[index - 1]);
    ends = last;
  }

  return {
    add(offset, bytes, from, to, own) {
      const end = offset + to - from;
      let done = offset;
      while (left > 0 && done < end && !isTorn) {
        const place = done === runEnd && starts[at + 1] !== done ? at : placeOf(done);
        if (place >= 0 && ends[place]! > done) {
          done = Math.min(end, ends[place]!);
          continue;
        }
        const until = Math.min(end, starts[place + 1] ?? length);
        const isWhole = done === offset && until === end;
        take(place, done, bytes, from + done - offset, from + until - offset, isWhole ? own : undefined);
        done = until;
        if (starts.length === APART_MOST) {
          joinTouching();
          // Else all of them would be looked at again and again.
          isTorn = starts.length > APART_MOST / 2;
        }
      }
    },
    whole() {
      if (left > 0) return undefined;
      endRun();
      return total >>> 0;
    },
    missing() {
      if (isTorn) return null;
      const found: Stretch[] = [];
      let offset = 0;
      for (let index = 0; index <= starts.length; index++) {
        const start = starts[index] ?? length;
        if (start > offset) found.push({ offset, length: start - offset });
        offset = ends[index] ?? length;
      }
      return found;
    },
  };
}
