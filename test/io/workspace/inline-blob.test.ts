import { expect, test } from '@jest/globals';
import { inlineBlob, inlineValue } from '../../../src/io/workspace/inline-blob.ts';

test('a small value comes back from its reference; its digest is known without it', () => {
  const value = { a: [1, 'ü', null, true], b: { c: 'x'.repeat(500) } };
  const reference = inlineBlob(value)!;
  expect(inlineValue(reference)).toEqual(value);
  expect(reference.size).toBe(Buffer.byteLength(JSON.stringify(value)));
});

test.each([
  ['by its text', { text: 'x'.repeat(1024) }],
  ['by its bytes', { text: 'ü'.repeat(600) }],
  ['by the number of its entries', Array.from({ length: 100_000 }, () => 0)],
  ['by what its names have', { ['x'.repeat(1100)]: 1 }],
  ['by what is within', { a: { b: { c: Array.from({ length: 300 }, (_, index) => ({ index })) } } }],
])('a larger one has none: %s', (_, value) => {
  expect(inlineBlob(value)).toBeNull();
});

test('every size up to the most is taken, and none above', () => {
  const taken = (length: number): boolean => inlineBlob('x'.repeat(length)) !== null;
  expect([0, 1, 1021, 1022, 1023, 1024].map(taken)).toEqual([true, true, true, true, false, false]);
});

test('a damaged one is refused; another place is not its affair', () => {
  const reference = inlineBlob({ a: 1 })!;
  expect(() => inlineValue({ ...reference, sha256: 'f'.repeat(64) })).toThrow(/was damaged/);
  expect(inlineValue({ ...reference, uri: 'file:///workspace/blobs/ab/abc.json' })).toBeUndefined();
});
