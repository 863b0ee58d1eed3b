import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Layout, Segment } from '../../../src/formats/layout.ts';
import { BLOCK, blocksOf } from '../../../src/io/copy/blocks.ts';
import { bytesPerElement, type Dtype } from '../../../src/model/dtype.ts';

/** Tensors of so many elements, behind `start` literal bytes. */
function layoutOf(start: number, tensors: readonly { readonly dtype: Dtype; readonly elements: number }[]): Layout {
  const segments: Segment[] = [
    { kind: 'bytes', bytes: new Uint8Array(start) },
    ...tensors.map(({ dtype, elements }, index) => ({ kind: 'tensor' as const, index, length: elements * bytesPerElement(dtype) })),
  ];
  return {
    format: 'test',
    size: segments.reduce((sum, each) => sum + (each.kind === 'bytes' ? start : each.length), 0),
    segments,
    tensors: tensors.map(({ dtype, elements }, index) => ({
      name: `t${index}`,
      dtype,
      shape: [elements],
      origin: { dtype, shape: [elements], storage: index, offset: 0 },
    })),
  };
}

const sized = (dtype: Dtype) => fc.nat({ max: (3 * BLOCK) / bytesPerElement(dtype) }).map((elements) => ({ dtype, elements }));

test('blocks hold every byte of a layout once, in order, and cut no element', () => {
  const tensors = fc.array(fc.oneof(sized('U8'), sized('BF16'), sized('F32'), sized('C128')), { maxLength: 20 });
  fc.assert(
    fc.property(fc.nat({ max: 64 }), tensors, (start, of) => {
      const layout = layoutOf(start, of);
      const lengths = layout.segments.map((segment) => (segment.kind === 'bytes' ? segment.bytes.length : segment.length));
      const next = lengths.map(() => 0);
      let latest = 0;
      for (const block of blocksOf(layout)) {
        expect(block.reduce((sum, part) => sum + part.length, 0)).toBeLessThanOrEqual(BLOCK);
        for (const { segment, offset, length } of block) {
          expect(segment).toBeGreaterThanOrEqual(latest);
          expect(offset).toBe(next[segment]);
          if (segment > 0) expect(offset % bytesPerElement(of[segment - 1]!.dtype)).toBe(0);
          next[segment]! += length;
          latest = segment;
        }
      }
      expect(next).toEqual(lengths);
    }),
    { numRuns: 50 },
  );
});

test('where elements lie at multiples of their size, every block is a whole one but the last', () => {
  const layout = layoutOf(8, [
    { dtype: 'F64', elements: BLOCK / 8 + 3 },
    { dtype: 'F32', elements: BLOCK / 2 + 1 },
    { dtype: 'U8', elements: 3 * BLOCK + 5 },
  ]);
  const sizes = [...blocksOf(layout)].map((block) => block.reduce((sum, part) => sum + part.length, 0));
  expect(sizes).toEqual([BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, layout.size - 6 * BLOCK]);
});

test('no block is empty, and one alone ends with the output, also where empty tensors stand at the end of a block', () => {
  const empty = { dtype: 'F32', elements: 0 } as const;
  const filling = { dtype: 'U8', elements: BLOCK - 8 } as const;
  for (const tensors of [[filling, empty], [filling, empty, empty, filling, { dtype: 'U8', elements: 8 } as const, empty], [empty]]) {
    const layout = layoutOf(8, tensors);
    for (const size of [BLOCK, layout.size]) {
      const blocks = [...blocksOf(layout, size)];
      const lengths = blocks.map((parts) => parts.reduce((sum, { length }) => sum + length, 0));
      expect(lengths.filter((length) => length === 0)).toEqual([]);
      expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(layout.size);
      expect(blocks.flat().filter(({ length }) => length === 0)).toHaveLength(tensors.filter((each) => each === empty).length);
    }
  }
});
