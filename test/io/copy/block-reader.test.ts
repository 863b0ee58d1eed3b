/** Tensors cut into blocks, against the bytes they were cut from. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { blockReader } from '../../../src/io/copy/block-reader.ts';
import { noise } from '../../support/memory-source.ts';

interface Cut {
  readonly start: readonly number[];
  readonly shape: readonly number[];
}

/** The blocks between cuts along each axis. */
function grid(cuts: readonly (readonly number[])[]): readonly Cut[] {
  return cuts.reduce<readonly Cut[]>(
    (blocks, axis) =>
      blocks.flatMap((block) =>
        axis.slice(1).map((end, at) => ({ start: [...block.start, axis[at]!], shape: [...block.shape, end - axis[at]!] })),
      ),
    [{ start: [], shape: [] }],
  );
}

/** The contiguous bytes of a block, element by element. */
function cutOut(whole: Uint8Array, shape: readonly number[], size: number, { start, shape: extent }: Cut): Uint8Array {
  const count = extent.reduce((product, each) => product * each, 1);
  const bytes = new Uint8Array(count * size);
  for (let element = 0; element < count; element++) {
    let rest = element;
    let at = 0;
    let step = 1;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += ((rest % extent[axis]!) + start[axis]!) * step;
      rest = Math.floor(rest / extent[axis]!);
      step *= shape[axis]!;
    }
    bytes.set(whole.subarray(at * size, (at + 1) * size), element * size);
  }
  return bytes;
}

function reader(whole: Uint8Array, shape: readonly number[], size: number, blocks: readonly Cut[]) {
  const asked = { opened: 0, reads: 0, bytes: 0, closed: 0 };
  const assembled = blockReader({
    shape,
    size,
    blocks,
    open: async (index) => {
      asked.opened++;
      const bytes = cutOut(whole, shape, size, blocks[index]!);
      return {
        length: bytes.length,
        async readInto(offset, target) {
          if (offset + target.length > bytes.length) throw new RangeError('past the block');
          asked.reads++;
          asked.bytes += target.length;
          target.set(bytes.subarray(offset, offset + target.length));
        },
        close: () => void asked.closed++,
      };
    },
  });
  return { assembled, asked };
}

const axis = fc
  .tuple(fc.integer({ min: 1, max: 7 }), fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 3 }))
  .map(([size, inner]) => [0, ...inner.filter((cut) => cut < size).sort((a, b) => a - b), size]);

describe('a tensor in blocks', () => {
  test('gives any range of the bytes it was cut from, in any order of blocks', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(axis, { maxLength: 4 }),
        fc.constantFrom(1, 2, 8),
        fc.infiniteStream(fc.nat()),
        async (cuts, size, random) => {
          const shape = cuts.map((each) => each.at(-1)!);
          const whole = noise(shape.reduce((product, each) => product * each, size));
          const blocks = grid(cuts)
            .map((block) => ({ block, key: random.next().value! }))
            .sort((a, b) => a.key - b.key)
            .map(({ block }) => block);
          const { assembled } = reader(whole, shape, size, blocks);
          expect(assembled.length).toBe(whole.length);
          for (let trial = 0; trial < 3; trial++) {
            const from = random.next().value! % (whole.length + 1);
            const target = new Uint8Array(random.next().value! % (whole.length - from + 1));
            await assembled.readInto(from, target);
            expect(target).toEqual(whole.slice(from, from + target.length));
          }
        },
      ),
      { numRuns: 300 },
    ));

  test('rows are read straight, columns page by page: no byte twice, few reads', async () => {
    const [height, width, size] = [4096, 512, 4];
    const whole = noise(height * width * size);
    const rows = reader(
      whole,
      [height, width],
      size,
      grid([
        [0, 1024, 4096],
        [0, width],
      ]),
    );
    const columns = reader(
      whole,
      [height, width],
      size,
      grid([
        [0, height],
        [0, 100, 300, width],
      ]),
    );
    for (const { assembled, asked } of [rows, columns]) {
      const target = new Uint8Array(whole.length);
      const step = 1024 * 1024;
      for (let at = 0; at < whole.length; at += step) await assembled.readInto(at, target.subarray(at, at + step));
      assembled.close();
      expect(Buffer.compare(target, whole)).toBe(0);
      expect(asked.bytes).toBe(whole.length);
      expect(asked.reads).toBeLessThanOrEqual(12);
      expect(asked.closed).toBe(asked.opened);
    }
  });
});
