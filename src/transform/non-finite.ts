/** NaN and infinite values of every float kind, counted in the bytes of a tensor as they pass. */
import type { Dtype } from '../model/dtype.ts';

export interface NonFinite {
  readonly nan: number;
  readonly inf: number;
}

type Count = (bytes: Uint8Array) => NonFinite;

const NONE: NonFinite = { nan: 0, inf: 0 };

/** How a dtype's values are counted; undefined for those that can hold neither. Complex ones count each half. */
const COUNTS: Readonly<Partial<Record<Dtype, Count>>> = {
  F64: doubles,
  C128: doubles,
  F32: (bytes) => words(aligned(bytes, Uint32Array), 0x7f800000, 0x007fffff),
  C64: (bytes) => words(aligned(bytes, Uint32Array), 0x7f800000, 0x007fffff),
  F16: (bytes) => words(aligned(bytes, Uint16Array), 0x7c00, 0x03ff),
  C32: (bytes) => words(aligned(bytes, Uint16Array), 0x7c00, 0x03ff),
  BF16: (bytes) => words(aligned(bytes, Uint16Array), 0x7f80, 0x007f),
  BC32: (bytes) => words(aligned(bytes, Uint16Array), 0x7f80, 0x007f),
  F8_E5M2: (bytes) => words(bytes, 0x7c, 0x03),
  // `fn`: no infinity, one NaN of each sign. `fnuz`: no negative zero, whose code is the one NaN. E8M0: exponents only.
  F8_E4M3: (bytes) => codes(bytes, (byte) => (byte & 0x7f) === 0x7f),
  F8_E4M3FNUZ: (bytes) => codes(bytes, (byte) => byte === 0x80),
  F8_E5M2FNUZ: (bytes) => codes(bytes, (byte) => byte === 0x80),
  F8_E8M0: (bytes) => codes(bytes, (byte) => byte === 0xff),
};

/** Counts in little-endian bytes that hold whole elements. */
export function countNonFinite(dtype: Dtype, bytes: Uint8Array): NonFinite {
  return COUNTS[dtype]?.(bytes) ?? NONE;
}

function words(values: ArrayLike<number>, exponent: number, mantissa: number): NonFinite {
  let nan = 0;
  let inf = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if ((value & exponent) !== exponent) continue;
    if ((value & mantissa) === 0) inf++;
    else nan++;
  }
  return { nan, inf };
}

function doubles(bytes: Uint8Array): NonFinite {
  const values = aligned(bytes, Uint32Array);
  let nan = 0;
  let inf = 0;
  for (let index = 1; index < values.length; index += 2) {
    const high = values[index]!;
    if ((high & 0x7ff00000) !== 0x7ff00000) continue;
    if ((high & 0x000fffff) === 0 && values[index - 1] === 0) inf++;
    else nan++;
  }
  return { nan, inf };
}

function codes(bytes: Uint8Array, isNan: (byte: number) => boolean): NonFinite {
  let nan = 0;
  for (const byte of bytes) if (isNan(byte)) nan++;
  return { nan, inf: 0 };
}

/** The bytes as larger words; copied only where they lie askew. */
function aligned(bytes: Uint8Array, Words: typeof Uint16Array | typeof Uint32Array): Uint16Array | Uint32Array {
  const size = Words.BYTES_PER_ELEMENT;
  const straight = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  const length = Math.floor(straight.length / size);
  return Words === Uint16Array
    ? new Uint16Array(straight.buffer, straight.byteOffset, length)
    : new Uint32Array(straight.buffer, straight.byteOffset, length);
}
