/**
 * Which entries of its memo a pickle ever fetches. Writers store nearly every value there and fetch a handful: all others need not be
 * kept for it.
 *
 * Invariant: one step for an opcode, nothing is made. It stops where the machine would, or earlier; then everything counts as fetched.
 */

/** Bytes of operands by opcode; those that are not here are told apart in `recallsOf`. */
const OPERANDS = new Int8Array(256).fill(-1);
for (const opcode of '.(01)2NQRbdeatlosu}]'.split('').map((each) => each.charCodeAt(0))) OPERANDS[opcode] = 0;
for (const opcode of [0x81, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94]) OPERANDS[opcode] = 0;
for (const opcode of [0x80, 0x4b, 0x71]) OPERANDS[opcode] = 1;
OPERANDS[0x4d] = 2;
for (const opcode of [0x4a, 0x72]) OPERANDS[opcode] = 4;
for (const opcode of [0x47, 0x95]) OPERANDS[opcode] = 8;

const STOP = 0x2e;
/** Entries told apart; torch's pickles fetch some ten. */
const RECALLED_MAX = 10_000;
/** Opcodes with a length in front of their operand, by the size of that length. */
const COUNTED: Readonly<Record<number, 1 | 4 | 8>> = {
  0x55: 1,
  0x8c: 1,
  0x43: 1,
  0x8a: 1,
  0x58: 4,
  0x54: 4,
  0x42: 4,
  0x8b: 4,
  0x8d: 8,
  0x8e: 8,
  0x96: 8,
};
/** Opcodes with lines of text, by how many. */
const LINES: Readonly<Record<number, 1 | 2>> = { 0x49: 1, 0x4c: 1, 0x46: 1, 0x53: 1, 0x56: 1, 0x70: 1, 0x63: 2, 0x69: 2 };

/** Whether an entry may be fetched, of the one pickle that begins at `start`. */
export function recallsOf(bytes: Uint8Array, start: number): (index: number) => boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all = (): boolean => true;
  const recalled = new Set<number>();
  let at = start;
  while (at < bytes.length) {
    const opcode = bytes[at++]!;
    const operands = OPERANDS[opcode]!;
    if (opcode === STOP) return (index) => recalled.has(index);
    if (operands >= 0) {
      at += operands;
      continue;
    }
    const size = COUNTED[opcode];
    if (size !== undefined) {
      if (at + size > bytes.length) return all;
      const length = size === 1 ? bytes[at]! : size === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
      at += size + length;
      continue;
    }
    if (opcode === 0x68 && at < bytes.length) recalled.add(bytes[at++]!);
    else if (opcode === 0x6a && at + 4 <= bytes.length) {
      recalled.add(view.getUint32(at, true));
      at += 4;
    } else {
      const lines = LINES[opcode];
      // GET in text, as protocol 0 has it, is left to the machine.
      if (lines === undefined) return all;
      for (let line = 0; line < lines; line++) {
        const end = bytes.indexOf(10, at);
        if (end === -1) return all;
        at = end + 1;
      }
    }
    if (recalled.size > RECALLED_MAX) return all;
  }
  return all;
}
