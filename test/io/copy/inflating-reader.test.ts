import { crc32, deflateRawSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { inflatingReader } from '../../../src/io/copy/inflating-reader.ts';
import { memorySource, noise } from '../../support/memory-source.ts';

const plain = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * index) >>> 7);
const deflated = deflateRawSync(plain);

function memberOf(bytes: Uint8Array, change: Partial<Parameters<typeof inflatingReader>[1]> = {}) {
  const member = { name: 'archive/data/0', stored: bytes.length, size: plain.length, crc32: crc32(plain), ...change };
  return inflatingReader(memorySource(Buffer.concat([Buffer.alloc(5), bytes, Buffer.alloc(9)])), member, 5);
}

test('any range, forward and back', async () => {
  const reader = memberOf(deflated);
  for (const [from, to] of [
    [0, 1],
    [1000, 900_000],
    [2_999_999, 3_000_000],
    [0, 3_000_000],
    [17, 17],
  ] as const) {
    const target = new Uint8Array(to - from);
    await reader.readInto(from, target);
    expect(Buffer.compare(target, plain.subarray(from, to))).toBe(0);
  }
  reader.close();
});

test.each<[string, Uint8Array, { size?: number; crc32?: number }, RegExp]>([
  ['bytes behind its end', Buffer.concat([deflated, noise(100)]), {}, /ends after \d+ of \d+ bytes/],
  ['a wrong checksum', deflated, { crc32: 1 }, /CRC-32/],
  ['more than it says', deflated, { size: 1_000_000 }, /more than its 1000000/],
  ['less than it says', deflated, { size: 3_000_001 }, /expected 3000001/],
  ['no deflate stream', noise(1000), {}, /does not inflate/],
  ['a cut stream', deflated.subarray(0, 5000), {}, /inflate/],
])('%s is refused', async (_name, bytes, change, message) => {
  const reader = memberOf(bytes, change);
  const target = new Uint8Array(change.size ?? plain.length);
  await expect(reader.readInto(0, target)).rejects.toThrow(message);
  reader.close();
});

test('a few runs through a storage, each forward, inflate it a few times', async () => {
  let inflated = 0;
  const member = { name: 'archive/data/0', stored: deflated.length, size: plain.length, crc32: crc32(plain) };
  const inflate = (bytes: number): void => void (inflated += bytes);
  const reader = inflatingReader(memorySource(Buffer.from(deflated)), member, 0, { inflate });
  const read = async (from: number, length: number): Promise<void> => {
    const target = new Uint8Array(length);
    await reader.readInto(from, target);
    expect(Buffer.compare(target, plain.subarray(from, from + length))).toBe(0);
  };
  // Weights lie before their biases, which come first by name.
  for (let layer = 0; layer < 300; layer++) {
    await read(layer * 10_000 + 9_000, 1_000);
    await read(layer * 10_000, 9_000);
  }
  expect(inflated).toBeLessThan(2 * plain.length);
  for (let at = 40; at > 0; at--) await read(at * 70_000, 1);
  // Nothing of use is kept for one that goes backward.
  expect(inflated).toBeGreaterThan(10 * plain.length);
  reader.close();
});

test('what is too much is refused before it is inflated', async () => {
  const source = memorySource(Buffer.from(deflated));
  const member = { name: 'archive/data/0', stored: deflated.length, size: plain.length, crc32: crc32(plain) };
  const refuse = (): void => {
    throw new Error('too much');
  };
  const reader = inflatingReader(source, member, 0, { inflate: refuse });
  await expect(reader.readInto(0, new Uint8Array(10))).rejects.toThrow('too much');
  reader.close();
});
