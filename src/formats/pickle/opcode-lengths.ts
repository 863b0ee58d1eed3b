/**
 * How long the arguments of opcodes are, for whoever goes through a pickle without running it (pickletools.py of CPython 3.13).
 *
 * Invariant: an opcode stands in one of the tables at most. Those in none have no argument, or are not opcodes, which the machine refuses.
 */

export const STOP = 0x2e;
export const GET = 0x67;
export const BINGET = 0x68;
export const LONG_BINGET = 0x6a;

/** Bytes of the length in front of a counted argument. */
export const COUNTED = table({
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
});

/** Lines of text. */
export const LINES = table({
  0x46: 1, // FLOAT
  0x49: 1, // INT
  0x4c: 1, // LONG
  0x53: 1, // STRING
  0x56: 1, // UNICODE
  [GET]: 1,
  0x70: 1, // PUT
  0x50: 1, // PERSID
  0x63: 2, // GLOBAL
  0x69: 2, // INST
});

/** Bytes of a fixed argument; -1 of what stands in another table, so that most opcodes take one look. */
export const FIXED = table({
  0x80: 1, // PROTO
  0x95: 8, // FRAME
  0x4b: 1, // BININT1
  0x4d: 2, // BININT2
  0x4a: 4, // BININT
  0x47: 8, // BINFLOAT
  [BINGET]: 1,
  [LONG_BINGET]: 4,
  0x71: 1, // BINPUT
  0x72: 4, // LONG_BINPUT
  0x82: 1, // EXT1
  0x83: 2, // EXT2
  0x84: 4, // EXT4
});

for (let opcode = 0; opcode < 256; opcode++) if (COUNTED[opcode]! + LINES[opcode]! > 0) FIXED[opcode] = -1;

/** The length in front of a counted argument, of `width` bytes. */
export function countAt(view: DataView, at: number, width: number): number {
  if (width === 1) return view.getUint8(at);
  return width === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

/** By opcode; zero of all others. */
function table(given: Readonly<Record<number, number>>): Int8Array {
  const lengths = new Int8Array(256);
  for (const [opcode, length] of Object.entries(given)) lengths[Number(opcode)] = length;
  return lengths;
}
