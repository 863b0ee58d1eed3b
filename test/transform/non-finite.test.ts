/** Codes of NaN and infinity of every float kind, by the formats' definitions (IEEE 754; OCP FP8; the `fnuz` proposal). */
import { describe, expect, test } from '@jest/globals';
import { DTYPES, type Dtype } from '../../src/model/dtype.ts';
import { countNonFinite } from '../../src/transform/non-finite.ts';

function bytesOf(size: number, values: readonly bigint[]): Uint8Array {
  const bytes = Buffer.alloc(size * values.length);
  values.forEach((value, index) => {
    for (let byte = 0; byte < size; byte++) bytes[index * size + byte] = Number((value >> BigInt(8 * byte)) & 0xffn);
  });
  return bytes;
}

/** Bytes of one number, then finite ones, NaN, infinite ones. */
const KINDS: Partial<Record<Dtype, readonly [number, readonly bigint[], readonly bigint[], readonly bigint[]]>> = {
  F64: [
    8,
    [0n, 0x3ff0000000000000n, 0x7fefffffffffffffn, 1n],
    [0x7ff8000000000000n, 0xfff0000000000001n, 0x7ff0000100000000n],
    [0x7ff0000000000000n, 0xfff0000000000000n],
  ],
  F32: [4, [0n, 0x3f800000n, 0x7f7fffffn, 0x80000000n], [0x7fc00000n, 0xff800001n], [0x7f800000n, 0xff800000n]],
  F16: [2, [0n, 0x7bffn, 0x8000n], [0x7c01n, 0xfe00n], [0x7c00n, 0xfc00n]],
  BF16: [2, [0n, 0x7f7fn, 0x8000n], [0x7f81n, 0xffc0n], [0x7f80n, 0xff80n]],
  F8_E5M2: [1, [0n, 0x7bn, 0x80n], [0x7dn, 0x7en, 0xffn], [0x7cn, 0xfcn]],
  F8_E4M3: [1, [0n, 0x7en, 0x80n, 0x78n], [0x7fn, 0xffn], []],
  F8_E4M3FNUZ: [1, [0n, 0x7fn, 0xffn], [0x80n], []],
  F8_E5M2FNUZ: [1, [0n, 0x7fn, 0xffn, 0x7cn], [0x80n], []],
  F8_E8M0: [1, [0n, 0xfen], [0xffn], []],
};
const HALVES: Partial<Record<Dtype, Dtype>> = { C128: 'F64', C64: 'F32', C32: 'F16', BC32: 'BF16' };

describe('counts', () => {
  test.each(Object.entries(KINDS))('%s', (dtype, kind) => {
    const [size, finite, nan, inf] = kind!;
    const bytes = bytesOf(size, [...finite, ...nan, ...inf]);
    expect(countNonFinite(dtype as Dtype, bytes)).toEqual({ nan: nan.length, inf: inf.length });
    // Askew in memory, as tensors lie in a block.
    const askew = new Uint8Array(bytes.length + 1);
    askew.set(bytes, 1);
    expect(countNonFinite(dtype as Dtype, askew.subarray(1))).toEqual({ nan: nan.length, inf: inf.length });
  });

  test.each(Object.entries(HALVES))('%s by halves of %s', (dtype, half) => {
    const [size, finite, nan, inf] = KINDS[half!]!;
    const values = [...finite, ...nan, ...inf, ...(finite.length % 2 === (nan.length + inf.length) % 2 ? [] : [0n])];
    expect(countNonFinite(dtype as Dtype, bytesOf(size, values))).toEqual({ nan: nan.length, inf: inf.length });
  });

  test('nothing in any other kind', () => {
    const ones = new Uint8Array(16).fill(0xff);
    for (const dtype of Object.keys(DTYPES) as Dtype[])
      if (KINDS[dtype] === undefined && HALVES[dtype] === undefined) expect(countNonFinite(dtype, ones)).toEqual({ nan: 0, inf: 0 });
  });

  test('all codes of F8 agree with their values', () => {
    const all = Uint8Array.from({ length: 256 }, (_, code) => code);
    expect(countNonFinite('F8_E5M2', all)).toEqual({ nan: 6, inf: 2 });
    expect(countNonFinite('F8_E4M3', all)).toEqual({ nan: 2, inf: 0 });
  });
});
