import { crc32 } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { crc32Of } from '../../../src/io/digests/crc32.ts';
import { noise } from '../../support/memory-source.ts';

test('every part of some bytes has the sum that zlib gives, alone and behind another', () => {
  const bytes = noise(300, 7);
  for (let from = 0; from < 9; from++)
    for (let to = from; to <= bytes.length; to++) {
      const part = bytes.subarray(from, to);
      expect(crc32Of(bytes, from, to)).toBe(crc32(part));
      expect(crc32Of(bytes, from, to, 0xdeadbeef)).toBe(crc32(part, 0xdeadbeef));
    }
});

test('the sum of all bytes is that of its parts, one behind the other', () => {
  const bytes = noise(1000, 8);
  for (const cut of [0, 1, 127, 128, 129, 500, 1000]) expect(crc32Of(bytes, cut, 1000, crc32Of(bytes, 0, cut))).toBe(crc32(bytes));
});
