/** Boxes that should fill a tensor. */
import { describe, expect, test } from '@jest/globals';
import { gapFinder } from '../../../src/formats/distributed/tiling.ts';

const box = (start: readonly number[], shape: readonly number[]) => ({ start, shape });

describe('boxes fill a tensor', () => {
  test.each([
    ['one', [4, 3], [box([0, 0], [4, 3])]],
    ['rows', [5, 3], [box([3, 0], [2, 3]), box([0, 0], [3, 3])]],
    ['columns', [2, 6], [box([0, 0], [2, 1]), box([0, 1], [2, 5])]],
    ['bricks', [2, 4], [box([0, 0], [1, 3]), box([0, 3], [1, 1]), box([1, 0], [1, 1]), box([1, 1], [1, 3])]],
    ['a scalar', [], [box([], [])]],
    ['nothing', [0, 3], [box([0, 0], [0, 3])]],
    ['nothing without a box', [0], []],
    ['with empty ones between', [2], [box([0], [1]), box([1], [0]), box([1], [1])]],
  ])('%s', (_, shape, boxes) => expect(gapFinder()(shape, boxes)).toBeUndefined());

  test.each([
    ['a hole', [4], [box([0], [2]), box([3], [1])], 'they hold 3 of 4'],
    ['an overlap that makes up for a hole', [4], [box([0], [2]), box([1], [2])], 'overlap'],
    ['the same box twice', [2, 2], [box([0, 0], [1, 2]), box([0, 0], [1, 2])], 'overlap'],
    ['an overlap off the axis that is sorted', [2, 4], [box([0, 0], [2, 1]), box([0, 1], [1, 2]), box([0, 2], [2, 2])], 'overlap'],
    ['past the end', [4], [box([3], [4])], 'inside'],
    ['other dimensions', [4], [box([0, 0], [4, 1])], 'inside'],
    ['no box', [4], [], 'they hold 0 of 4'],
    ['two scalars', [], [box([], []), box([], [])], 'they hold 2 of 1'],
  ])('not with %s', (_, shape, boxes, said) => expect(gapFinder()(shape, boxes)).toContain(said));

  test('100 000 rows are compared with their neighbours only', () => {
    const rows = Array.from({ length: 100_000 }, (_, row) => box([row, 0], [1, 4]));
    expect(gapFinder()([100_000, 4], rows)).toBeUndefined();
  });

  test('more comparisons than are made for a whole checkpoint are refused, however few each tensor takes', () => {
    const cuts = 12;
    const boxes = Array.from({ length: 2 ** cuts }, (_, at) => {
      const start = Array.from({ length: cuts }, (_none, axis) => (at >> axis) & 1);
      return box(
        start,
        start.map(() => 1),
      );
    });
    const shape = boxes[0]!.shape.map(() => 2);
    const find = gapFinder();
    expect(find(shape, boxes)).toBeUndefined();
    expect(find(shape, boxes)).toContain('too many to compare');
    expect(gapFinder()(shape, boxes)).toBeUndefined();
  });
});
