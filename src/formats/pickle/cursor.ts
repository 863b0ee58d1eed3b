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

/** Sound as far as it was read, and larger than what is read here. */
export class PickleLimitError extends PickleSyntaxError {}

export interface Cursor {
  position: number;
  /** Reads an opcode. */
  readonly opcode: () => number;
  /** Where that opcode stands. */
  opcodeAt: number;
  /** Refuses that opcode. */
  readonly fail: (message: string) => never;
  /** The same, as something that two readers would read differently. */
  readonly failAmbiguous: (message: string) => never;
  readonly u8: () => number;
  readonly u16: () => number;
  readonly i32: () => number;
  readonly u32: () => number;
  readonly f64: () => number;
  /** An unsigned 8-byte length; refused above what is left. */
  readonly u64: () => number;
  readonly take: (length: number) => Uint8Array;
  /** As Python decodes it, surrogates included. */
  readonly utf8: (length: number) => string | Surrogates;
  /** Up to the newline, without it. */
  readonly rawLine: () => Uint8Array;
  /** The same as UTF-8. */
  readonly line: () => string;
  readonly enterFrame: (length: number) => void;
  readonly isInFrame: () => boolean;
}

/** A Python str that is not a Unicode text: it holds a lone surrogate, as file names that are not UTF-8 do. In WTF-8. */
export interface Surrogates {
  readonly wtf8: Uint8Array;
}

/** UTF-8 as CPython and torch read it (`surrogatepass`); what no reader takes is refused. */
export function decodeText(bytes: Uint8Array, position: number): string | Surrogates {
  try {
    return UTF8.decode(bytes);
  } catch {
    // Every surrogate is three bytes, ed a0..bf 80..bf; with another character in its place the text must be sound.
    const rest = new Uint8Array(bytes);
    for (let at = 0; at + 2 < rest.length; at++) {
      const [second = 0, third = 0] = [rest[at + 1], rest[at + 2]];
      if (rest[at] === 0xed && second >= 0xa0 && second <= 0xbf && (third & 0xc0) === 0x80) rest.fill(0x3f, at, at + 3);
    }
    try {
      UTF8.decode(rest);
    } catch {
      throw new PickleSyntaxError('a string is not valid UTF-8', position);
    }
    return { wtf8: bytes };
  }
}

/** Texts up to this length are mostly names in ASCII, and shorter to look at than to hand to a decoder. */
const NAME = 256;

export function openCursor(bytes: Uint8Array, start: number, limits: PickleLimits): Cursor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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
    opcode: () => {
      cursor.opcodeAt = cursor.position;
      return view.getUint8(advance(1));
    },
    opcodeAt: start,
    fail: (message) => {
      throw new PickleSyntaxError(message, cursor.opcodeAt);
    },
    failAmbiguous: (message) => {
      throw new PickleSyntaxError(message, cursor.opcodeAt, true);
    },
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
      return length <= NAME && isAscii(bytes, at, at + length)
        ? buffer.toString('latin1', at, at + length)
        : decodeText(bytes.subarray(at, at + length), at);
    },
    rawLine: () => {
      const at = cursor.position;
      const end = bytes.subarray(at, at + limits.line).indexOf(10);
      if (end === -1) throw new PickleSyntaxError(`no end of line within ${limits.line} bytes`, at);
      return cursor.take(end + 1).subarray(0, -1);
    },
    line: () => {
      const at = cursor.position;
      try {
        return UTF8.decode(cursor.rawLine());
      } catch (error) {
        throw error instanceof PickleSyntaxError ? error : new PickleSyntaxError('a line is not valid UTF-8', at);
      }
    },
    enterFrame: (length) => {
      const at = cursor.position;
      if (frameEnd !== -1 && at < frameEnd) throw new PickleSyntaxError('a frame begins inside another', at, true);
      if (length > bytes.length - at) throw new PickleSyntaxError(`a frame of ${length} bytes, ${bytes.length - at} left`, at);
      frameEnd = length === 0 ? -1 : at + length;
    },
    isInFrame: () => frameEnd !== -1,
  };
  return cursor;
}

function isAscii(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at]! >= 0x80) return false;
  return true;
}
