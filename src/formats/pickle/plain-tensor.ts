/**
 * The opcodes by which Python writes a dense tensor of torch, taken in at one look: a state dict is little else than some thirty of them,
 * as often as it has tensors.
 *
 * Invariant: one form is known, and nothing is judged. Whatever differs from it by a byte is left to the machine, which goes by opcodes.
 */
import { MAX_DIMENSIONS } from '../limits-pickle.ts';

const MARK = 0x28;
const TUPLE = 0x74;
const EMPTY_TUPLE = 0x29;
const TUPLE1 = 0x85;
const TUPLE3 = 0x87;
const NEWFALSE = 0x89;
const REDUCE = 0x52;
const BINPERSID = 0x51;
const BINGET = 0x68;
const LONG_BINGET = 0x6a;
const BINPUT = 0x71;
const LONG_BINPUT = 0x72;
const BININT1 = 0x4b;
const BININT2 = 0x4d;
const BININT = 0x4a;
const BINUNICODE = 0x58;
/** Characters of a storage's key: torch writes numbers. */
const LONGEST_KEY = 32;

/** `builder((kind, type, key, device, numel), offset, sizes, stride, False, hooks())`; what is an entry of the memo is told by its index. */
export interface PlainTensor {
  kind: number;
  type: number;
  key: string;
  device: number;
  numel: number;
  offset: number;
  readonly sizes: number[];
  readonly stride: number[];
  hooks: number;
  /** Entries of the memo that it stores on its way: so many from there on, without a gap. */
  firstStored: number;
  stored: number;
  /** Where the storage's persistent id stands, the call, and what follows it. */
  persistentAt: number;
  callAt: number;
  end: number;
}

/** Reads what follows the fetch of the builder; undefined: it is something else. What it gives is there until it is asked again. */
export function plainTensors(bytes: Uint8Array): (from: number) => PlainTensor | undefined {
  const found: PlainTensor = {
    kind: 0,
    type: 0,
    key: '',
    device: 0,
    numel: 0,
    offset: 0,
    sizes: [],
    stride: [],
    hooks: 0,
    firstStored: 0,
    stored: 0,
    persistentAt: 0,
    callAt: 0,
    end: 0,
  };
  let at = 0;
  let isPlain = true;

  // Behind the end of the bytes there is nothing, which is not an opcode.
  const is = (opcode: number): void => {
    if (bytes[at++] !== opcode) isPlain = false;
  };
  const uint32 = (): number => {
    at += 4;
    return (bytes[at - 4]! | (bytes[at - 3]! << 8) | (bytes[at - 2]! << 16) | (bytes[at - 1]! << 24)) >>> 0;
  };
  const get = (): number => {
    const opcode = bytes[at++];
    if (opcode === BINGET) return bytes[at++]!;
    if (opcode !== LONG_BINGET) isPlain = false;
    return uint32();
  };
  const put = (): void => {
    const opcode = bytes[at++];
    if (opcode !== BINPUT && opcode !== LONG_BINPUT) isPlain = false;
    const index = opcode === BINPUT ? bytes[at++]! : uint32();
    if (found.stored === 0) found.firstStored = index;
    else if (index !== found.firstStored + found.stored) isPlain = false;
    found.stored++;
  };
  const integer = (): number => {
    const opcode = bytes[at++];
    if (opcode === BININT1) return bytes[at++]!;
    if (opcode === BININT2) {
      at += 2;
      return bytes[at - 2]! | (bytes[at - 1]! << 8);
    }
    const value = uint32();
    if (opcode !== BININT || value >= 2 ** 31) isPlain = false;
    return value;
  };
  const key = (): string => {
    is(BINUNICODE);
    const length = uint32();
    let text = '';
    if (length > LONGEST_KEY) isPlain = false;
    else
      for (const end = at + length; at < end; at++) {
        const code = bytes[at]!;
        if (!(code < 0x80)) isPlain = false;
        text += String.fromCharCode(code);
      }
    return text;
  };
  /** A tuple of them, which only an empty one is not stored of. */
  const integers = (list: number[]): void => {
    if (bytes[at] === EMPTY_TUPLE) {
      list.length = 0;
      return void at++;
    }
    const isMarked = bytes[at] === MARK;
    if (isMarked) at++;
    // Overwritten, a list keeps its memory, which one that is emptied gives away.
    let count = 0;
    for (let opcode = bytes[at]; opcode === BININT1 || opcode === BININT2 || opcode === BININT; opcode = bytes[at]) {
      if (count < list.length) list[count] = integer();
      else list.push(integer());
      count++;
    }
    if (count < list.length) list.length = count;
    if (list.length > MAX_DIMENSIONS) isPlain = false;
    if (isMarked) is(TUPLE);
    else if (list.length === 0 || TUPLE1 + list.length - 1 > TUPLE3) isPlain = false;
    else is(TUPLE1 + list.length - 1);
    put();
  };

  return (from) => {
    at = from;
    isPlain = true;
    found.stored = 0;
    is(MARK);
    is(MARK);
    if (!isPlain) return undefined;
    found.kind = get();
    found.type = get();
    found.key = key();
    put();
    found.device = get();
    found.numel = integer();
    is(TUPLE);
    put();
    found.persistentAt = at;
    is(BINPERSID);
    if (!isPlain) return undefined;
    found.offset = integer();
    integers(found.sizes);
    integers(found.stride);
    is(NEWFALSE);
    found.hooks = get();
    is(EMPTY_TUPLE);
    is(REDUCE);
    put();
    is(TUPLE);
    put();
    found.callAt = at;
    is(REDUCE);
    found.end = at;
    return isPlain ? found : undefined;
  };
}
