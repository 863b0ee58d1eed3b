import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { windowed } from '../../../src/io/caching-source.ts';
import { coalescing, spansOf, type Held } from '../../../src/io/copy/coalescing-source.ts';
import { memorySource, noise } from '../../support/memory-source.ts';

test('whatever was announced, reads give the bytes of the file', async () => {
  const bytes = noise(400_000);
  const range = fc
    .tuple(fc.nat({ max: 400_000 }), fc.nat({ max: 90_000 }))
    .map(([offset, length]) => ({ offset, length: Math.min(length, 400_000 - offset) }));
  await fc.assert(
    fc.asyncProperty(fc.array(range), fc.array(range), async (announced, wanted) => {
      const source = coalescing(memorySource(bytes));
      // Twice, as the memory of the first time is used again.
      for (const ranges of [announced, wanted]) {
        await source.prefetch(ranges);
        for (const { offset, length } of [...wanted, ...announced]) {
          const target = new Uint8Array(length);
          await source.readInto(offset, target);
          expect(Buffer.compare(target, bytes.subarray(offset, offset + length))).toBe(0);
          expect(Buffer.compare(await source.read(offset, length), target)).toBe(0);
          expectHeld(source.held(offset), offset, bytes);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('what has a place of its own is there afterwards, whatever else was announced', async () => {
  const bytes = noise(400_000);
  const range = fc
    .tuple(fc.nat({ max: 400_000 }), fc.nat({ max: 90_000 }))
    .map(([offset, length]) => ({ offset, length: Math.min(length, 400_000 - offset) }));
  await fc.assert(
    fc.asyncProperty(fc.array(range), fc.array(range), async (near, placed) => {
      const source = coalescing(memorySource(bytes), 1);
      const direct = placed.map(({ offset, length }) => ({ offset, target: new Uint8Array(length) }));
      await source.prefetch([...near, ...direct]);
      for (const { offset, target } of direct) expect(Buffer.compare(target, bytes.subarray(offset, offset + target.length))).toBe(0);
      for (const { offset } of near) {
        expectHeld(source.held(offset), offset, bytes);
      }
    }),
    { numRuns: 100 },
  );
});

test('large neighbours for different places are one request, and what stands between them is held', async () => {
  const bytes = noise(3_000_000);
  const source = memorySource(bytes);
  const near = coalescing(source);
  const targets = [new Uint8Array(1_000_000), new Uint8Array(1_999_800)];
  await near.prefetch([
    { offset: 1_000_200, target: targets[1]! },
    { offset: 0, target: targets[0]! },
    { offset: 1_000_100, length: 100 },
  ]);
  expect(source.reads).toEqual([{ offset: 0, length: 3_000_000 }]);
  expect(Buffer.compare(targets[1]!, bytes.subarray(1_000_200))).toBe(0);
  expect(near.held(1_000_100)).toMatchObject({ offset: 1_000_000, end: 1_000_200 });
  expect(near.held(1_000_200)).toBeUndefined();
});

test('ten thousand neighbours are one request', async () => {
  const source = memorySource(noise(10_000 * 320));
  const near = coalescing(source);
  const ranges = Array.from({ length: 10_000 }, (_, index) => ({ offset: index * 320, length: 256 }));
  await near.prefetch(ranges);
  for (const { offset, length } of ranges) await near.read(offset, length);
  expect(source.asked.requests).toBe(1);
});

test('spans are bounded, whatever is announced', () => {
  const far = Array.from({ length: 100 }, (_, index) => ({ offset: index * 2 ** 22, length: 2 ** 20 }));
  const twins = far.flatMap((range) => [range, { ...range, offset: range.offset + 2 ** 20 }]);
  const spans = spansOf(twins, 2 ** 40);
  expect(spans.reduce((sum, { offset, end }) => sum + end - offset, 0)).toBeLessThanOrEqual(16 * 2 ** 20);
});

test('a window that failed once is asked for again', async () => {
  const source = memorySource(noise(300_000));
  let fails = 2;
  const flaky = {
    ...source,
    read: async (offset: number, length: number) => {
      if (fails-- > 0) throw new Error('reset');
      return source.read(offset, length);
    },
  };
  const header = windowed(flaky);
  await expect(header.read(0, 10)).rejects.toThrow('reset');
  await expect(header.read(299_990, 10)).rejects.toThrow('reset');
  expect(await header.read(0, 10)).toEqual(await source.read(0, 10));
  expect(await header.read(299_990, 10)).toEqual(await source.read(299_990, 10));
});

test('what is read belongs to who asked, however large, and what lies behind it comes with it', async () => {
  const bytes = noise(3_000_000);
  for (const length of [1000, 900_000, 1_500_000]) {
    const source = windowed(memorySource(bytes));
    const first = await source.read(400_000, length);
    const behind = await source.read(400_000 + length, 10_000);
    expect(source.requests.count).toBe(1);
    first.fill(0);
    behind.fill(0);
    expect(Buffer.compare(await source.read(400_000, length), bytes.subarray(400_000, 400_000 + length))).toBe(0);
    expect(Buffer.compare(await source.read(400_000 + length, 10_000), bytes.subarray(400_000 + length, 410_000 + length))).toBe(0);
  }
});

function expectHeld(held: Held | undefined, offset: number, file: Uint8Array): void {
  if (held === undefined) return;
  expect(held.offset <= offset && offset < held.end && held.bytes.length === held.end - held.offset).toBe(true);
  expect(Buffer.compare(held.bytes, file.subarray(held.offset, held.end))).toBe(0);
}
