/**
 * Names in what follows the point where a pickle breaks: no machine can run there, but a reader with other ideas of what is
 * broken might.
 *
 * Invariant: looks at every offset, so no length or opcode before a name can hide it; linear but for a bounded look back at each
 * STACK_GLOBAL; reports names that look like Python's only. What it finds adds to a refusal that stands already.
 */
import type { GlobalName } from '../../model/value.ts';

export interface Swept extends GlobalName {
  readonly position: number;
}

/** Bytes looked through; a pickle of 200 000 tensors has 27 MB. */
const SWEPT = 64 * 2 ** 20;
/** Names reported. */
const FOUND_MAX = 1_000;
/** STACK_GLOBAL opcodes whose operands are looked for; every 256th byte of random data is one. */
const LOOKED_BACK = 200_000;
/** Bytes before a STACK_GLOBAL in which both operands must begin. */
const OPERANDS = 600;

export function sweep(bytes: Uint8Array, start: number, isDangerous: (module: string, name: string) => boolean): readonly Swept[] {
  const found: Swept[] = [];
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.min(SWEPT, bytes.length - start)).toString('latin1');
  // GLOBAL and INST: the opcode, then two lines. In a run of letters any c or i may be the opcode.
  for (const match of text.matchAll(/([A-Za-z_][\w.]{1,200})\n([A-Za-z_][\w.]{0,200})\n/g)) {
    const [, line = '', name = ''] = match;
    const modules = [...line.matchAll(/[ci]/g)].map(({ index }) => ({ module: line.slice(index + 1), at: start + match.index + index }));
    const candidates = modules.filter(({ module }) => /^[A-Za-z_]/.test(module));
    const chosen = candidates.find(({ module }) => isDangerous(module, name)) ?? candidates[0];
    if (chosen !== undefined) found.push({ module: chosen.module, name, position: chosen.at });
    if (found.length >= FOUND_MAX) return found;
  }
  let looked = 0;
  for (let at = text.indexOf('\x93'); at !== -1 && looked < LOOKED_BACK; at = text.indexOf('\x93', at + 1), looked++) {
    const pair = operands(text, at);
    if (pair !== undefined) found.push({ ...pair, position: start + at });
    if (found.length >= FOUND_MAX) break;
  }
  return found;
}

/** The two strings that end right before the STACK_GLOBAL at `end`, each perhaps stored to the memo. */
function operands(text: string, end: number): GlobalName | undefined {
  const before = (to: number): { readonly value: string; readonly from: number } | undefined => {
    const stop = skipPuts(text, to);
    for (const candidate of stop) {
      for (let length = 1; length < OPERANDS / 2 && candidate - length > 0; length++) {
        const at = candidate - length;
        const value = text.slice(at, candidate);
        const short = text.charCodeAt(at - 2);
        if ((short === 0x8c || short === 0x55) && text.charCodeAt(at - 1) === length && isName(value)) return { value, from: at - 2 };
        const long = text.charCodeAt(at - 5);
        const low = text.charCodeAt(at - 4) | (text.charCodeAt(at - 3) << 8);
        if ((long === 0x58 || long === 0x54) && low === length && isName(value)) return { value, from: at - 5 };
        if (!/[\w.]/.test(value[0] ?? '')) break;
      }
    }
    return undefined;
  };
  const name = before(end);
  const module = name === undefined ? undefined : before(name.from);
  return name === undefined || module === undefined ? undefined : { module: module.value, name: name.value };
}

/** Where a string may end that is followed by memo opcodes up to `to`. */
function skipPuts(text: string, to: number): readonly number[] {
  const ends = [to];
  if (text.charCodeAt(to - 1) === 0x94) ends.push(to - 1);
  if (text.charCodeAt(to - 2) === 0x71) ends.push(to - 2);
  if (text.charCodeAt(to - 5) === 0x72) ends.push(to - 5);
  return ends;
}

function isName(text: string): boolean {
  return /^[A-Za-z_][\w.]*$/.test(text);
}
