/**
 * Bounds-checked reading of a pickle's bytes.
 *
 * Invariant: no read passes the end of the bytes or of the current frame, and lengths are compared with what is left before
 * anything is allocated (pickletools.py of CPython 3.13 names the encodings).
 */
import type { PickleLimits } from '../limits-pickle.ts';

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const TWO_32 = 0x1_0000_0000;

/** Bytes that no pickle may have, or that two readers would read differently (`ambiguous`). */
export class PickleSyntaxError extends Error {
  readonly position: number;
  readonly ambiguous: boolean;
  constructor(message: string, position: number, ambiguous = false) {
    super(message);
    this.name = 'PickleSyntaxError';
    this.position = position;
    this.ambiguous = ambiguous;
  }
}

export interface Cursor {
  position: number;
  readonly u8: () => number;
  readonly u16: () => number;
  readonly i32: () => number;
  readonly u32: () => number;
  readonly f64: () => number;
  /** An unsigned 8-byte length; refused above what is left. */
  readonly u64: () => number;
  readonly take: (length: number) => Uint8Array;
  readonly utf8: (length: number) => string;
  /** Up to the newline, as UTF-8, without it. */
  readonly line: () => string;
  readonly enterFrame: (length: number) => void;
}

export function openCursor(bytes: Uint8Array, start: number, limits: PickleLimits): Cursor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let frameEnd = -1;
  const advance = (length: number): number => {
    const at = cursor.position;
    if (length < 0) throw new PickleSyntaxError(`negative length ${length}`, at);
    if (length > bytes.length - at) throw new PickleSyntaxError(`${length} bytes wanted, ${bytes.length - at} left`, at);
    if (frameEnd === at) frameEnd = -1;
    if (frameEnd !== -1 && at + length > frameEnd)
      throw new PickleSyntaxError(`an opcode crosses the end of its frame at ${frameEnd}`, at, true);
    cursor.position = at + length;
    return at;
  };
  const cursor: Cursor = {
    position: start,
    u8: () => view.getUint8(advance(1)),
    u16: () => view.getUint16(advance(2), true),
    i32: () => view.getInt32(advance(4), true),
    u32: () => view.getUint32(advance(4), true),
    f64: () => view.getFloat64(advance(8), false),
    u64: () => {
      const at = advance(8);
      return view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32;
    },
    take: (length) => {
      const at = advance(length);
      return bytes.subarray(at, at + length);
    },
    utf8: (length) => {
      const at = advance(length);
      try {
        return UTF8.decode(bytes.subarray(at, at + length));
      } catch {
        throw new PickleSyntaxError('a string is not valid UTF-8', at);
      }
    },
    line: () => {
      const at = cursor.position;
      const end = bytes.subarray(at, at + limits.line).indexOf(10);
      if (end === -1) throw new PickleSyntaxError(`no end of line within ${limits.line} bytes`, at);
      const text = cursor.utf8(end + 1);
      return text.slice(0, -1);
    },
    enterFrame: (length) => {
      const at = cursor.position;
      if (frameEnd !== -1 && at < frameEnd) throw new PickleSyntaxError('a frame begins inside another', at, true);
      if (length > bytes.length - at) throw new PickleSyntaxError(`a frame of ${length} bytes, ${bytes.length - at} left`, at);
      frameEnd = length === 0 ? -1 : at + length;
    },
  };
  return cursor;
}
