import { expect, test } from '@jest/globals';
import { blobCache } from '../../src/io/blob-cache.ts';

const MIB = 2 ** 20;
const reference = (name: string, size = 1) => ({ uri: `file:///workspace/${name}`, sha256: name, size });

test('a value is given back for its own place and digest only', () => {
  const cache = blobCache();
  const value = { tensors: [1] };
  cache.keep(reference('a'), value);
  expect(cache.get(reference('a'))).toBe(value);
  expect(cache.get({ ...reference('a'), uri: 'file:///another/a' })).toBeUndefined();
  expect(cache.get({ ...reference('a'), sha256: 'b' })).toBeUndefined();
});

test('those used last stay, at most 40 MiB of them', () => {
  const cache = blobCache();
  for (const name of ['a', 'b', 'c']) cache.keep(reference(name, 12 * MIB), name);
  expect(cache.get(reference('a', 12 * MIB))).toBe('a');
  cache.keep(reference('d', 12 * MIB), 'd');
  expect(['a', 'b', 'c', 'd'].map((name) => cache.get(reference(name, 12 * MIB)))).toEqual(['a', undefined, 'c', 'd']);
  cache.keep(reference('large', 41 * MIB), 'large');
  expect(cache.get(reference('large', 41 * MIB))).toBeUndefined();
  expect(cache.get(reference('d', 12 * MIB))).toBe('d');
  cache.keep(reference('most', 40 * MIB), 'most');
  expect(['a', 'c', 'd', 'most'].map((name) => cache.get(reference(name, 12 * MIB)))).toEqual([undefined, undefined, undefined, 'most']);
});

test('the same blob counts once', () => {
  const cache = blobCache();
  for (let time = 0; time < 10; time++) cache.keep(reference('a', 30 * MIB), time);
  cache.keep(reference('b', 10 * MIB), 'b');
  expect(cache.get(reference('a', 30 * MIB))).toBe(9);
  expect(cache.get(reference('b', 10 * MIB))).toBe('b');
});
