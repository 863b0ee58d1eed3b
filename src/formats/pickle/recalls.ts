/**
 * Which entries of its memo a pickle ever fetches. Writers store nearly every value there and fetch a handful: all others need not be
 * kept for it.
 *
 * Invariant: one step for an opcode, nothing is made. Whatever the machine fetches before it refuses something is known by then; where the
 * bytes end without STOP, everything counts as fetched.
 */
import { BINGET, COUNTED, countAt, FIXED, GET, LINES, LONG_BINGET, STOP } from './opcode-lengths.ts';

/** Entries told apart; torch's pickles fetch some ten. */
const RECALLED_MAX = 10_000;

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
    const fixed = FIXED[opcode]!;
    if (fixed >= 0) {
      if (opcode === STOP) return (index) => (index < 256 ? low[index] === 1 : high.has(index));
      if (opcode === BINGET && at < bytes.length) low[bytes[at]!] = 1;
      else if (opcode === LONG_BINGET && at + fixed <= bytes.length) {
        const index = view.getUint32(at, true);
        if (index < 256) low[index] = 1;
        else high.add(index);
        if (high.size > RECALLED_MAX) return all;
      }
      at += fixed;
      continue;
    }
    // In text, as protocol 0 has it, it is left to the machine.
    if (opcode === GET) return all;
    const width = COUNTED[opcode]!;
    if (width > 0) {
      if (at + width > bytes.length) return all;
      at += width + countAt(view, at, width);
    }
    for (let line = LINES[opcode]!; line > 0; line--) {
      const end = bytes.indexOf(10, at);
      if (end === -1) return all;
      at = end + 1;
    }
  }
  return all;
}
