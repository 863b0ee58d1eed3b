import { expect, test } from '@jest/globals';
import { recentValues } from '../../../src/io/workspace/recent-values.ts';

const MIB = 2 ** 20;

test('a value is given back under its own key, until it is forgotten', () => {
  const values = recentValues();
  const value = { tensors: [1] };
  values.keep('a', value, 1);
  expect(values.get('a')).toBe(value);
  expect(values.get('b')).toBeUndefined();
  values.forget('b');
  values.forget('a');
  expect(values.get('a')).toBeUndefined();
});

test('those used last stay, at most 48 MiB of them', () => {
  const values = recentValues();
  for (const key of ['a', 'b', 'c']) values.keep(key, key, 15 * MIB);
  expect(values.get('a')).toBe('a');
  values.keep('d', 'd', 15 * MIB);
  expect(['a', 'b', 'c', 'd'].map((key) => values.get(key))).toEqual(['a', undefined, 'c', 'd']);
  values.keep('large', 'large', 49 * MIB);
  expect(values.get('large')).toBeUndefined();
  expect(values.get('d')).toBe('d');
  values.keep('most', 'most', 48 * MIB);
  expect(['a', 'c', 'd', 'most'].map((key) => values.get(key))).toEqual([undefined, undefined, undefined, 'most']);
});

test('however small, at most 128 values stay', () => {
  const values = recentValues();
  for (let index = 0; index < 200; index++) values.keep(`${index}`, index, 1);
  const there = Array.from({ length: 200 }, (_, index) => index).filter((index) => values.get(`${index}`) !== undefined);
  expect(there).toEqual(Array.from({ length: 128 }, (_, index) => index + 72));
});

test('a value counts once under its key, and no more when it is forgotten', () => {
  const values = recentValues();
  for (let time = 0; time < 10; time++) values.keep('a', time, 38 * MIB);
  values.keep('b', 'b', 10 * MIB);
  expect(values.get('a')).toBe(9);
  expect(values.get('b')).toBe('b');
  values.forget('b');
  values.keep('c', 'c', 10 * MIB);
  expect(values.get('a')).toBe(9);
});
