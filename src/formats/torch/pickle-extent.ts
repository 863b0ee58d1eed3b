/**
 * Where a pickle ends, by the lengths of its opcodes alone: which bytes of a file of several pickles must be fetched.
 *
 * Invariant: judges nothing. Bytes that break the machine's rules still get an extent, or none, and the machine refuses them.
 */
import { COUNTED, countAt, FIXED, LINES, STOP } from '../pickle/opcode-lengths.ts';

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
    const opcode = bytes[at]!;
    if (opcode === STOP) return { at: at + 1, ended: true, needed: at + 1 };
    let next = at + 1 + Math.max(0, FIXED[opcode]!);
    const width = COUNTED[opcode]!;
    if (width > 0) {
      if (next + width > bytes.length) return { at, ended: false, needed: next + width };
      next += width + countAt(view, next, width);
    }
    for (let line = LINES[opcode]!; line > 0; line--) {
      const end = bytes.indexOf(10, next);
      if (end === -1) return { at, ended: false, needed: bytes.length + 1 };
      next = end + 1;
    }
    if (next > bytes.length) return { at, ended: false, needed: next };
    at = next;
  }
  return { at, ended: false, needed: at + 1 };
}
