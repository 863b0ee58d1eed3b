/**
 * Where a pickle ends, by the lengths of its opcodes alone: which bytes of a file of several pickles must be fetched.
 *
 * Invariant: judges nothing. Bytes that break the machine's rules still get an extent, or none, and the machine refuses them.
 */

/** Bytes of fixed arguments, by opcode. */
const FIXED: Readonly<Record<number, number>> = {
  0x80: 1, // PROTO
  0x95: 8, // FRAME
  0x4b: 1, // BININT1
  0x4d: 2, // BININT2
  0x4a: 4, // BININT
  0x47: 8, // BINFLOAT
  0x68: 1, // BINGET
  0x6a: 4, // LONG_BINGET
  0x71: 1, // BINPUT
  0x72: 4, // LONG_BINPUT
  0x82: 1, // EXT1
  0x83: 2, // EXT2
  0x84: 4, // EXT4
};
/** Bytes of the length in front of a counted argument, by opcode. */
const COUNTED: Readonly<Record<number, 1 | 4 | 8>> = {
  0x8a: 1, // LONG1
  0x8b: 4, // LONG4
  0x58: 4, // BINUNICODE
  0x8c: 1, // SHORT_BINUNICODE
  0x8d: 8, // BINUNICODE8
  0x54: 4, // BINSTRING
  0x55: 1, // SHORT_BINSTRING
  0x42: 4, // BINBYTES
  0x43: 1, // SHORT_BINBYTES
  0x8e: 8, // BINBYTES8
  0x96: 8, // BYTEARRAY8
};
/** Lines of text, by opcode: FLOAT, INT, LONG, STRING, UNICODE, GET, PUT, PERSID; GLOBAL and INST have two. */
const LINES: Readonly<Record<number, number>> = {
  0x46: 1,
  0x49: 1,
  0x4c: 1,
  0x53: 1,
  0x56: 1,
  0x67: 1,
  0x70: 1,
  0x50: 1,
  0x63: 2,
  0x69: 2,
};
const STOP = 0x2e;

/** Where a scan stands: `at` is the next opcode, so that it goes on there when more bytes have come. */
export interface Extent {
  readonly at: number;
  /** True: `at` is just behind STOP. */
  readonly ended: boolean;
  /** Bytes that the buffer must have at least for the scan to go on. */
  readonly needed: number;
}

/** Scans opcodes from `start` to STOP or to the end of the bytes, whichever comes first. */
export function pickleExtent(bytes: Uint8Array, start: number): Extent {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = start;
  while (at < bytes.length) {
    const opcode = bytes[at] ?? 0;
    if (opcode === STOP) return { at: at + 1, ended: true, needed: at + 1 };
    let next = at + 1 + (FIXED[opcode] ?? 0);
    const width = COUNTED[opcode];
    if (width !== undefined) {
      if (next + width > bytes.length) return { at, ended: false, needed: next + width };
      next += width + (width === 1 ? view.getUint8(next) : view.getUint32(next, true));
      if (width === 8) next += view.getUint32(at + 5, true) * 2 ** 32;
    }
    for (let line = LINES[opcode] ?? 0; line > 0; line -= 1) {
      const end = bytes.indexOf(10, next);
      if (end === -1) return { at, ended: false, needed: bytes.length + 1 };
      next = end + 1;
    }
    if (next > bytes.length) return { at, ended: false, needed: next };
    at = next;
  }
  return { at, ended: false, needed: at + 1 };
}
