/**
 * WebAssembly as expressions over vectors of four lanes of 32 bits, and a module out of functions over one piece of memory
 * (WebAssembly 2.0, "Vector Instructions" and "Binary Format").
 *
 * Invariant: an expression is code that leaves one value on the stack; a statement leaves none.
 */
export type Code = readonly number[];

/** LEB128. Of the signed form the last byte's sign bit says all of the rest. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}
function signed(value: number): Code {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}

const plain = (opcode: number, ...operands: readonly Code[]): Code => [...operands.flat(), opcode];
const vector = (opcode: number, ...operands: readonly Code[]): Code => [...operands.flat(), 0xfd, ...unsigned(opcode)];

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)];

/** Numbers of 32 bits. */
export const number = (value: number): Code => [0x41, ...signed(value)];
export const plus = (a: Code, b: Code): Code => plain(0x6a, a, b);
export const shifted = (a: Code, by: number): Code => plain(0x76, a, number(by));
/** Runs the statements, and again as long as `a` is below `b`. */
export const repeat = (statements: Code, a: Code, b: Code): Code => [0x03, 0x40, ...statements, ...plain(0x49, a, b), 0x0d, 0, 0x0b];

/** The same bits in all four lanes. */
export const all = (bits: number): Code => [0xfd, 0x0c, ...Array.from({ length: 16 }, (_, at) => (bits >>> (8 * (at % 4))) & 0xff)];
export const load = (address: Code, offset: number): Code => [...vector(0x00, address), 0, ...unsigned(offset)];
export const store = (address: Code, offset: number, value: Code): Code => [...vector(0x0b, address, value), 0, ...unsigned(offset)];
export const and = (a: Code, b: Code): Code => vector(0x4e, a, b);
export const or = (a: Code, b: Code): Code => vector(0x50, a, b);
export const select = (condition: Code, yes: Code, no: Code): Code => vector(0x52, yes, no, condition);
/** Comparisons of signed lanes: −1 where they hold, else 0. */
export const equal = (a: Code, b: Code): Code => vector(0x37, a, b);
export const below = (a: Code, b: Code): Code => vector(0x39, a, b);
export const above = (a: Code, b: Code): Code => vector(0x3b, a, b);
export const right = (a: Code, by: number): Code => vector(0xad, a, number(by));
export const add = (a: Code, b: Code): Code => vector(0xae, a, b);
export const subtract = (a: Code, b: Code): Code => vector(0xb1, a, b);
/** Of unsigned lanes. */
export const least = (a: Code, b: Code): Code => vector(0xb7, a, b);
export const addFloats = (a: Code, b: Code): Code => vector(0xe4, a, b);
/** Eight lanes of 16 bits out of twice four that need no more. */
export const narrow = (a: Code, b: Code): Code => vector(0x86, a, b);
/** The sum of all lanes: a number. */
export const total = (a: Code): Code => [0, 1, 2, 3].map((lane): Code => [...vector(0x1b, a), lane]).reduce((sum, each) => plus(sum, each));

/** A function of one number, local 0, that gives one; behind it a number, local 1, and vectors. */
export interface VectorFunction {
  readonly name: string;
  readonly vectors: number;
  readonly code: Code;
}

const PAGE = 64 * 1024;
const MAGIC_AND_VERSION: Code = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** A module with these functions, and with `memory` bytes or some more, all of them exported by their names. */
export function assemble(functions: readonly VectorFunction[], memory: number): Uint8Array {
  const pages = unsigned(Math.ceil(memory / PAGE));
  return Uint8Array.from([
    ...MAGIC_AND_VERSION,
    ...section(1, [[0x60, 1, 0x7f, 1, 0x7f]]),
    ...section(
      3,
      functions.map(() => [0]),
    ),
    // As large at most as it is at first.
    ...section(5, [[0x01, ...pages, ...pages]]),
    ...section(7, [[...text('memory'), 0x02, 0], ...functions.map(({ name }, index) => [...text(name), 0x00, index])]),
    ...section(
      10,
      functions.map(({ vectors, code }) => sized([2, 1, 0x7f, vectors, 0x7b, ...code, 0x0b])),
    ),
  ]);
}

function text(value: string): Code {
  return sized([...Buffer.from(value)]);
}

function sized(code: Code): Code {
  return [...unsigned(code.length), ...code];
}

function section(id: number, entries: readonly Code[]): Code {
  return [id, ...sized([...unsigned(entries.length), ...entries.flat()])];
}
