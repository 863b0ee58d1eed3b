/**
 * F32 → F16 and F32 → BF16 four values at a time, by WebAssembly's vector instructions: as torch converts them (`float-bits.ts`), in a
 * tenth of the time of one value after the other. No value takes another way than its neighbour, so weights beside tiny, huge or
 * random ones cost the same.
 *
 * What is converted goes through the module's own memory, in slices that stay in the processor's nearest cache.
 */
import { F32_INFINITY } from './float-bits.ts';
import {
  above,
  add,
  addFloats,
  all,
  and,
  assemble,
  below,
  equal,
  get,
  least,
  load,
  narrow,
  number,
  or,
  plus,
  repeat,
  right,
  select,
  set,
  shifted,
  store,
  subtract,
  total,
  type Code,
} from './vector-code.ts';

/** Bytes of F32 that are converted in one call. */
const SLICE = 32 * 1024;
/** Bytes of F32 that one turn takes: two vectors, whose results are one. */
const TURN = 32;

/** Converts all of `source`, F32, into `target`, half as long; gives the number of values that became infinite. No alignment is needed. */
export type LaneCast = (source: Uint8Array, target: Uint8Array) => number;

/** Locals: bytes in all and those that are done, then vectors. */
const LENGTH = 0;
const DONE = 1;
/** By lane, how many values became infinite. */
const BEYOND = 2;
const FIRST = 3;
const VALUE = 4;
const ABSOLUTE = 5;
const RESULT = 6;

interface Rounding {
  /** The 16 bits for the magnitude at `ABSOLUTE`. */
  readonly result: Code;
  /** What they are for infinity. */
  readonly infinite: number;
}

const isNaN32 = above(get(ABSOLUTE), all(F32_INFINITY));
/** Whether the last bit that is kept is set, as rounding ties to even asks for. */
const last = (bit: number): Code => and(right(get(ABSOLUTE), bit), all(1));
/** F32 bits of the smallest normal F16. Below it, a sum with 0.5 has rounded already: its last bit is worth the smallest F16. */
const NORMAL = 0x38800000;
const HALF = 0x3f000000;

const toHalf: Rounding = {
  result: select(
    isNaN32,
    or(and(right(get(ABSOLUTE), 13), all(0x3ff)), all(0x7e00)),
    least(
      select(
        below(get(ABSOLUTE), all(NORMAL)),
        subtract(addFloats(get(ABSOLUTE), all(HALF)), all(HALF)),
        // With the exponent's bias made 15 of 127.
        right(add(get(ABSOLUTE), add(last(13), all(0xfff - ((127 - 15) << 23)))), 13),
      ),
      all(0x7c00),
    ),
  ),
  infinite: 0x7c00,
};

const toBrain: Rounding = {
  // Every NaN is the one with all bits set.
  result: select(isNaN32, all(0xffff), right(add(get(ABSOLUTE), add(last(16), all(0x7fff))), 16)),
  infinite: 0x7f80,
};

/** The results of four values, in lanes of 32 bits. */
function rounded({ result, infinite }: Rounding, offset: number): Code {
  return [
    ...set(VALUE, load(get(DONE), offset)),
    ...set(ABSOLUTE, and(get(VALUE), all(0x7fffffff))),
    ...set(RESULT, result),
    ...set(BEYOND, subtract(get(BEYOND), and(equal(get(RESULT), all(infinite)), below(get(ABSOLUTE), all(F32_INFINITY))))),
    ...or(get(RESULT), and(right(get(VALUE), 16), all(0x8000))),
  ];
}

/** Converts the first bytes of the memory, as many as it is called with, to behind the slice; gives how many became infinite. */
function kernel(rounding: Rounding): Code {
  const turn = [
    ...set(FIRST, rounded(rounding, 0)),
    ...store(shifted(get(DONE), 1), SLICE, narrow(get(FIRST), rounded(rounding, TURN / 2))),
    ...set(DONE, plus(get(DONE), number(TURN))),
  ];
  return [...repeat(turn, get(DONE), get(LENGTH)), ...total(get(BEYOND))];
}

interface Kernels {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly F16: (length: number) => number;
  readonly BF16: (length: number) => number;
}

/** Node has it, but where V8 may make no code (`--jitless`); TypeScript has it among what is only in browsers. */
declare const WebAssembly:
  | {
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object) => { readonly exports: unknown };
    }
  | undefined;

/** Null where the machine has no such instructions. */
function makeKernels(): Kernels | null {
  if (typeof WebAssembly === 'undefined') return null;
  const functions = [
    { name: 'F16', vectors: 5, code: kernel(toHalf) },
    { name: 'BF16', vectors: 5, code: kernel(toBrain) },
  ];
  try {
    // The exports are these functions and the memory.
    return new WebAssembly.Instance(new WebAssembly.Module(assemble(functions, 1.5 * SLICE))).exports as Kernels;
  } catch {
    return null;
  }
}

let kernels: Kernels | null | undefined;

export function laneCast(to: 'F16' | 'BF16'): LaneCast | null {
  kernels ??= makeKernels();
  if (kernels === null) return null;
  const run = kernels[to];
  const memory = new Uint8Array(kernels.memory.buffer);
  return (source, target) => {
    let beyond = 0;
    for (let from = 0; from < source.length; from += SLICE) {
      const slice = source.subarray(from, from + SLICE);
      const whole = Math.ceil(slice.length / TURN) * TURN;
      memory.set(slice);
      memory.fill(0, slice.length, whole);
      beyond += run(whole);
      target.set(memory.subarray(SLICE, SLICE + slice.length / 2), from / 2);
    }
    return beyond;
  };
}
