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
const LOOKED_BACK = 50_000;
/** Characters of a module's or attribute's name. */
const NAME_MAX = 200;

export function sweep(bytes: Uint8Array, start: number, isDangerous: (module: string, name: string) => boolean): readonly Swept[] {
  const found: Swept[] = [];
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.min(SWEPT, bytes.length - start)).toString('latin1');
  // GLOBAL and INST: the opcode, then two lines. In a run of letters any c or i may be the opcode.
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', end + 1)) {
    const from = nameStart(text, end);
    const last = text.indexOf('\n', end + 1);
    if (last === -1) break;
    if (end - from < 2 || last - end > NAME_MAX) continue;
    const name = text.slice(end + 1, last);
    if (!isName(name)) continue;
    let chosen: Swept | undefined;
    for (let at = from; at < end - 1; at++) {
      const opcode = text.charCodeAt(at);
      if (opcode !== 0x63 && opcode !== 0x69) continue;
      const module = text.slice(at + 1, end);
      if (!isName(module)) continue;
      const isWorse = isDangerous(module, name);
      if (chosen === undefined || isWorse) chosen = { module, name, position: start + at };
      if (isWorse) break;
    }
    if (chosen !== undefined) found.push(chosen);
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

/** Where the run of characters of a name begins that ends at `end`. */
function nameStart(text: string, end: number): number {
  let from = end;
  while (from > 0 && end - from <= NAME_MAX && isNameCode(text.charCodeAt(from - 1))) from--;
  return from;
}

function isNameCode(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || (code >= 0x30 && code <= 0x39) || code === 0x5f || code === 0x2e
  );
}

/** The two strings that end right before the STACK_GLOBAL at `end`, each perhaps stored to the memo. */
function operands(text: string, end: number): GlobalName | undefined {
  const name = stringBefore(text, end);
  const module = name === undefined ? undefined : stringBefore(text, name.from);
  return name === undefined || module === undefined ? undefined : { module: module.value, name: name.value };
}

function stringBefore(text: string, to: number): { readonly value: string; readonly from: number } | undefined {
  for (const end of skipPuts(text, to)) {
    const from = nameStart(text, end);
    for (let at = end - 1; at >= from && at >= 2; at--) {
      const length = end - at;
      const short = text.charCodeAt(at - 2);
      const isShort = (short === 0x8c || short === 0x55) && text.charCodeAt(at - 1) === length;
      const long = at < 5 ? 0 : text.charCodeAt(at - 5);
      const isLong = (long === 0x58 || long === 0x54) && text.charCodeAt(at - 4) === length && text.charCodeAt(at - 3) === 0;
      if ((isShort || isLong) && isName(text.slice(at, end))) return { value: text.slice(at, end), from: isShort ? at - 2 : at - 5 };
    }
  }
  return undefined;
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
