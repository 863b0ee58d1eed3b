import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { StorageReader } from '../../../src/io/copy/storage-reader.ts';
import { stridedFill, type StridedView } from '../../../src/io/copy/strided-reader.ts';
import { memorySource, noise, type MemorySource } from '../../support/memory-source.ts';

function readerOf(source: MemorySource): StorageReader {
  return { length: source.size, readInto: source.readInto, close: () => undefined };
}

/** Element by element, as the definition of a strided view says. */
function bruteForce(bytes: Uint8Array, { shape, stride, offset, size }: StridedView): Uint8Array {
  const count = shape.reduce((product, extent) => product * extent, 1);
  const out = new Uint8Array(count * size);
  for (let index = 0; index < count; index++) {
    let rest = index;
    let element = offset;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      element += (rest % shape[axis]!) * stride[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    out.set(bytes.subarray(element * size, (element + 1) * size), index * size);
  }
  return out;
}

function bytesNeeded({ shape, stride, offset, size }: StridedView): number {
  return (offset + shape.reduce((sum, extent, axis) => sum + (extent - 1) * stride[axis]!, 0) + 1) * size;
}

const views = fc
  .record({
    axes: fc.array(fc.record({ extent: fc.integer({ min: 1, max: 6 }), stride: fc.integer({ min: 0, max: 40 }) }), { maxLength: 5 }),
    offset: fc.integer({ min: 0, max: 9 }),
    size: fc.constantFrom(1, 2, 4, 8, 16),
  })
  .map(({ axes, offset, size }) => ({ shape: axes.map((a) => a.extent), stride: axes.map((a) => a.stride), offset, size }));

test('any view, any memory, any range: the bytes of the definition', async () => {
  await fc.assert(
    fc.asyncProperty(
      views,
      fc.record({ window: fc.integer({ min: 16, max: 4096 }), tile: fc.integer({ min: 16, max: 2048 }) }),
      fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 4 }),
      async (view, memory, ranges) => {
        const bytes = noise(bytesNeeded(view) + 8);
        const expected = bruteForce(bytes, view);
        const fill = stridedFill(readerOf(memorySource(bytes)), view, memory);
        const count = expected.length / view.size;
        for (const [a, b] of [[0, count - 1], ...ranges]) {
          const from = Math.min(a! % count, b! % count) * view.size;
          const to = (Math.max(a! % count, b! % count) + 1) * view.size;
          const target = new Uint8Array(to - from);
          await fill(from, target);
          expect(Buffer.compare(target, expected.subarray(from, to))).toBe(0);
        }
      },
    ),
    { numRuns: 400 },
  );
});

test('a transposed matrix is read once per window, not once per element', async () => {
  const [rows, columns] = [2048, 1024];
  const bytes = noise(rows * columns * 4);
  const source = memorySource(bytes);
  const view = { shape: [columns, rows], stride: [1, columns], offset: 0, size: 4 };
  const fill = stridedFill(readerOf(source), view, { window: 2 ** 20, tile: 2 ** 18 });
  const out = new Uint8Array(bytes.length);
  for (let at = 0; at < out.length; at += 2 ** 19) await fill(at, out.subarray(at, at + 2 ** 19));
  expect(Buffer.compare(out, bruteForce(bytes, view))).toBe(0);
  expect(source.asked.bytes).toBeLessThanOrEqual(8 * bytes.length);
});

test('an expanded row is read once', async () => {
  const source = memorySource(noise(4096));
  const fill = stridedFill(readerOf(source), { shape: [1000, 1024], stride: [0, 1], offset: 0, size: 4 });
  await fill(0, new Uint8Array(4096 * 1000));
  expect(source.asked).toEqual({ requests: 1, bytes: 4096 });
});
