import { crc32 } from 'node:zlib';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { pieceSum } from '../../../src/io/digests/piece-sum.ts';
import { noise } from '../../support/memory-source.ts';

const CONTENT = noise(3000);

const pieces = fc.array(fc.tuple(fc.nat({ max: 2999 }), fc.nat({ max: 400 }), fc.boolean()), { maxLength: 30 });

test('pieces in any order, over each other or not, have the sum of the whole, once they are all of it', () => {
  fc.assert(
    fc.property(pieces, fc.integer({ min: 1, max: 3000 }), (given, length) => {
      const content = CONTENT.subarray(0, length);
      const sum = pieceSum(length);
      const seen = new Uint8Array(length);
      for (const [start, most, isKnown] of given) {
        const offset = start % length;
        const end = Math.min(length, offset + most);
        // In a block that holds other things, too.
        const block = Buffer.concat([Buffer.alloc(7, 1), content.subarray(offset, end), Buffer.alloc(3, 1)]);
        sum.add(offset, block, 7, 7 + end - offset, isKnown ? crc32(content.subarray(offset, end)) : undefined);
        seen.fill(1, offset, end);
        expect(sum.whole()).toBe(seen.includes(0) ? undefined : crc32(content));
      }
      const left = new Uint8Array(length).fill(1);
      for (const { offset, length: bytes } of sum.missing()!) {
        left.fill(0, offset, offset + bytes);
        sum.add(offset, content, offset, offset + bytes);
      }
      expect(left).toEqual(seen);
      expect(sum.whole()).toBe(crc32(content));
      expect(sum.missing()).toEqual([]);
    }),
  );
});

test('long pieces with a sum of their own are joined', () => {
  const content = noise(1_200_000, 2);
  const cuts = [0, 300_000, 300_001, 900_000, 1_200_000];
  const sum = pieceSum(content.length);
  for (const index of [2, 3, 0, 1]) {
    const [from, to] = [cuts[index]!, cuts[index + 1]!];
    sum.add(from, content, from, to, crc32(content.subarray(from, to)));
  }
  expect(sum.whole()).toBe(crc32(content));
});

test('rows of columns that come column by column are as many stretches as rows, and the whole in the end', () => {
  const [rows, columns] = [40_000, 4];
  const content = noise(rows * columns, 3);
  const sum = pieceSum(content.length);
  for (let column = 0; column < columns; column++)
    for (let row = 0; row < rows; row++) {
      const at = row * columns + column;
      sum.add(at, content, at, at + 1);
    }
  expect(sum.whole()).toBe(crc32(content));
});

test('what comes in very many stretches is not told, as they would have to be kept', () => {
  const content = noise(400_000, 4);
  const sum = pieceSum(content.length);
  for (const first of [0, 2, 1, 3]) for (let at = first; at < content.length; at += 4) sum.add(at, content, at, at + 1);
  expect(sum.whole()).toBeUndefined();
  expect(sum.missing()).toBeNull();
});

test('many that touch become one', () => {
  const content = noise(160_000, 5);
  const sum = pieceSum(content.length);
  // Every other byte, what lies between, and then more of them than are kept apart.
  for (const first of [0, 1]) for (let at = first; at < 120_000; at += 2) sum.add(at, content, at, at + 1);
  for (const first of [120_001, 120_000]) for (let at = first; at < content.length; at += 2) sum.add(at, content, at, at + 1);
  expect(sum.whole()).toBe(crc32(content));
});

test('from the last to the first they are one stretch, and take no longer than the other way', () => {
  const content = noise(300_000, 6);
  const sum = pieceSum(content.length);
  for (let at = content.length - 1; at > 0; at--) sum.add(at, content, at, at + 1);
  expect(sum.missing()).toEqual([{ offset: 0, length: 1 }]);
  sum.add(0, content, 0, 1);
  expect(sum.whole()).toBe(crc32(content));
});
