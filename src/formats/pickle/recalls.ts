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
const COUNTED = new Int8Array(256);
for (const opcode of [0x55, 0x8c, 0x43, 0x8a]) COUNTED[opcode] = 1;
for (const opcode of [0x58, 0x54, 0x42, 0x8b]) COUNTED[opcode] = 4;
for (const opcode of [0x8d, 0x8e, 0x96]) COUNTED[opcode] = 8;
/** Opcodes with lines of text, by how many. */
const LINES = new Int8Array(256);
for (const opcode of [0x49, 0x4c, 0x46, 0x53, 0x56, 0x70]) LINES[opcode] = 1;
for (const opcode of [0x63, 0x69]) LINES[opcode] = 2;

/** Whether an entry may be fetched, of the one pickle that begins at `start`. */
export function recallsOf(bytes: Uint8Array, start: number): (index: number) => boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all = (): boolean => true;
  /** Those whose index is a byte: each fetched as often as there are tensors. */
  const low = new Uint8Array(256);
  const high = new Set<number>();
  let at = start;
  while (at < bytes.length) {
    const opcode = bytes[at++]!;
    const operands = OPERANDS[opcode]!;
    if (operands >= 0) {
      if (opcode === STOP) return (index) => (index < 256 ? low[index] === 1 : high.has(index));
      at += operands;
      continue;
    }
    const size = COUNTED[opcode]!;
    if (size > 0) {
      if (at + size > bytes.length) return all;
      const length = size === 1 ? bytes[at]! : size === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
      at += size + length;
    } else if (opcode === 0x68 && at < bytes.length) low[bytes[at++]!] = 1;
    else if (opcode === 0x6a && at + 4 <= bytes.length) {
      const index = view.getUint32(at, true);
      if (index < 256) low[index] = 1;
      else high.add(index);
      if (high.size > RECALLED_MAX) return all;
      at += 4;
    } else {
      const lines = LINES[opcode]!;
      // GET in text, as protocol 0 has it, is left to the machine.
      if (lines === 0) return all;
      for (let line = 0; line < lines; line++) {
        const end = bytes.indexOf(10, at);
        if (end === -1) return all;
        at = end + 1;
      }
    }
  }
  return all;
}
