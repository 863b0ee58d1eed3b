import { crc32 } from 'node:zlib';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { joinCrc32 } from '../../../src/io/digests/crc32-join.ts';
import { noise } from '../../support/memory-source.ts';

test('gives the sum of both, wherever they are cut', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), (bytes, at) => {
      const cut = at % (bytes.length + 1);
      const [first, second] = [bytes.subarray(0, cut), bytes.subarray(cut)];
      expect(joinCrc32(crc32(first), crc32(second), second.length)).toBe(crc32(bytes));
    }),
  );
});

test.each([1, 2 ** 20, 2 ** 23 + 1])('of %i bytes and more', (length) => {
  const bytes = noise(length + 77);
  expect(joinCrc32(crc32(bytes.subarray(0, 77)), crc32(bytes.subarray(77)), length)).toBe(crc32(bytes));
});

test('lengths past 32 bits count in full', () => {
  const zeros = (length: number): number => {
    if (length === 1) return crc32(new Uint8Array(1));
    const half = zeros(length / 2);
    return joinCrc32(half, half, length / 2);
  };
  expect(zeros(2 ** 20)).toBe(crc32(new Uint8Array(2 ** 20)));
  expect(joinCrc32(zeros(2 ** 33), zeros(2 ** 33), 2 ** 33)).toBe(zeros(2 ** 34));
  expect(joinCrc32(joinCrc32(1, zeros(2 ** 33), 2 ** 33), 0, 0)).toBe(joinCrc32(1, zeros(2 ** 33), 2 ** 33));
  expect(joinCrc32(1, zeros(2 ** 33), 2 ** 33)).not.toBe(joinCrc32(1, zeros(2 ** 33), 0));
});
