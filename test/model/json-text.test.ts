import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson, jsonText } from '../../src/model/json-text.ts';

test('a text is written as JSON writes it', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme-ascii' }),
    fc.constantFrom('', '"', '\\', '\u007f', '\u2028', '\ud800', 'a\nb', 'blocks.0.weight'),
  );
  fc.assert(
    fc.property(text, (each) => jsonText(each) === JSON.stringify(each)),
    { numRuns: 2000 },
  );
});

test('the same in another order is the same', () => {
  const one = { a: [1, { c: null, b: 'x' }], d: true };
  expect(canonicalJson(one)).toBe(canonicalJson({ d: true, a: [1, { b: 'x', c: null }] }));
  expect(JSON.parse(canonicalJson(one))).toEqual(one);
  expect(canonicalJson({ a: [1, 2] })).not.toBe(canonicalJson({ a: [2, 1] }));
});
