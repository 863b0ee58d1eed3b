/** Bit for bit what torch's `.to()` gives: digests from `test/fixtures/make_casts.py`, inputs by the same formulas. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { laneCast } from '../../../src/io/cast/cast-lanes.ts';
import { castFill } from '../../../src/io/cast/cast.ts';
import { fromF32Bits, isBeyond } from '../../../src/io/cast/float-bits.ts';
import { bytesPerElement, type Dtype } from '../../../src/model/dtype.ts';
import { fixture } from '../../support/project.ts';

const GOLDEN = JSON.parse(readFileSync(fixture('casts.json'), 'utf8')) as {
  casts: Record<string, Record<string, { sha256: string; overflowed?: number }>>;
};

const LOWS_32 = [0x0000, 0x0001, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0xefff, 0xf000, 0xf001, 0xffff];
const HIGHS_64 = [0x0000, 0x0001, 0x8000, 0xffff];
const LOWS_64 = [0x00000000, 0x00000001, 0x0fffffff, 0x10000000, 0x10000001, 0x30000000, 0x80000000, 0xf0000000, 0xffffffff];

function xorshift(count: number): Uint32Array {
  let x = 2463534242;
  return Uint32Array.from({ length: count }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>>= 0);
  });
}

function bits32(): Uint8Array {
  const bits: number[] = [];
  for (let high = 0; high < 65536; high++) for (const low of LOWS_32) bits.push(((high << 16) | low) >>> 0);
  for (const sign of [0, 0x80000000])
    for (let exponent = 100; exponent < 115; exponent++)
      for (let bit = 0; bit < 24; bit++)
        for (const delta of [-1, 0, 1]) bits.push((sign | (exponent << 23) | (((1 << bit) + delta) & 0x7fffff)) >>> 0);
  bits.push(...xorshift(65536));
  return new Uint8Array(Uint32Array.from(bits).buffer);
}

function bits64(): Uint8Array {
  const words: number[] = [];
  for (let high = 0; high < 65536; high++)
    for (const middle of HIGHS_64) for (const low of LOWS_64) words.push(low, ((high << 16) | middle) >>> 0);
  const random = xorshift(131072);
  for (let i = 0; i < random.length; i += 2) words.push(random[i + 1]!, random[i]!);
  return new Uint8Array(Uint32Array.from(words).buffer);
}

const wide = { 4: bits32(), 8: bits64() } as const;

function inputOf(dtype: Dtype): Uint8Array {
  const size = bytesPerElement(dtype) / (/^C\d/.test(dtype) ? 2 : 1);
  if (size === 1) return Uint8Array.from({ length: 256 }, (_, i) => i);
  if (size === 2) return new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
  return wide[size as 4 | 8];
}

async function cast(input: Uint8Array, from: Dtype, to: Dtype, report = { overflowed: 0 }): Promise<Uint8Array> {
  const fill = castFill(async (offset, target) => target.set(input.subarray(offset, offset + target.length)), from, to, report);
  const output = new Uint8Array((input.length / bytesPerElement(from)) * bytesPerElement(to));
  await fill(0, output);
  return output;
}

describe.each(Object.keys(GOLDEN.casts) as Dtype[])('%s', (from) => {
  test.each(Object.keys(GOLDEN.casts[from]!) as Dtype[])('→ %s is bit-equal with torch', async (to) => {
    const expected = GOLDEN.casts[from]![to]!;
    const report = { overflowed: 0 };
    const output = await cast(inputOf(from), from, to, report);
    expect(createHash('sha256').update(output).digest('hex')).toBe(expected.sha256);
    if (expected.overflowed !== undefined) expect(report.overflowed).toBe(expected.overflowed);
  });
});

test('any range of the output is the same, also where the memory is not aligned', async () => {
  const input = inputOf('F32').subarray(0, 400_000);
  const whole = await cast(input, 'F32', 'F16');
  const fill = castFill(async (offset, target) => target.set(input.subarray(offset, offset + target.length)), 'F32', 'F16');
  const memory = new Uint8Array(100_001);
  for (const offset of [0, 2, 4096, 99_998]) {
    const part = memory.subarray(1, 100_001);
    await fill(offset, part);
    expect(Buffer.compare(part, whole.subarray(offset, offset + part.length))).toBe(0);
  }
});

describe.each(['F16', 'BF16'] as const)('in lanes → %s', (to) => {
  test('any number of values at any address is converted as each alone is, and nothing behind them is touched', () => {
    const convert = laneCast(to)!;
    const values = new Uint32Array(xorshift(9000));
    // Beside random ones what becomes infinite, what is infinite, and no number.
    values.set([0x477ff000, 0xc77fefff, 0x7f7f8000, 0xff7fffff, 0x7f800000, 0xff800001, 0x33000000, 0x33000001, 0x80000000], 3);
    const bytes = new Uint8Array(values.buffer);
    for (const count of [0, 1, 7, 8, 9, 31, 8191, 8192, 8193, 9000]) {
      const source = new Uint8Array(4 * count + 1).subarray(1);
      source.set(bytes.subarray(0, 4 * count));
      const memory = new Uint8Array(2 * count + 2).fill(0xaa);
      const overflowed = convert(source, memory.subarray(1, 2 * count + 1));
      const taken = [...values.subarray(0, count)];
      const expected = new Uint8Array(Uint16Array.from(taken, (bits) => fromF32Bits(to, bits, true)).buffer);
      expect(Buffer.compare(memory, Buffer.concat([Buffer.of(0xaa), expected, Buffer.of(0xaa)]))).toBe(0);
      expect(overflowed).toBe(taken.filter((bits) => isBeyond(to, bits)).length);
    }
  });

  test('without them, in a process that may make no code, all values are the same', () => {
    const cast = new URL('../../../src/io/cast/cast.js', import.meta.url).href;
    const script = `
      import { createHash } from 'node:crypto';
      import { readFileSync } from 'node:fs';
      import { castFill } from '${cast}';
      const input = readFileSync(0);
      const report = { overflowed: 0 };
      const output = new Uint8Array(input.length / 2);
      await castFill(async (offset, target) => target.set(input.subarray(offset, offset + target.length)), 'F32', '${to}', report)(0, output);
      console.log(JSON.stringify({ sha256: createHash('sha256').update(output).digest('hex'), ...report, lanes: typeof WebAssembly }));`;
    const told = execFileSync(process.execPath, ['--jitless', '--input-type=module', '-e', script], {
      input: wide[4],
      stdio: ['pipe', 'pipe', 'ignore'],
    }).toString();
    expect(JSON.parse(told)).toEqual({ overflowed: expect.any(Number), ...GOLDEN.casts['F32']![to], lanes: 'undefined' });
  });
});

test.each<[Dtype, Dtype]>([
  ['F32', 'I32'],
  ['I8', 'BOOL'],
  ['F32', 'C64'],
  ['F32', 'F4'],
  ['BITS8', 'BITS16'],
])('%s does not become %s', (from, to) => {
  expect(() => castFill(async () => undefined, from, to)).toThrow(`${from} does not convert to ${to}`);
});
