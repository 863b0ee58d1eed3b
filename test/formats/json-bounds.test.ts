/** What a JSON text would make, counted before it is made. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { beyondJsonLimits, parseBounded } from '../../src/formats/json-bounds.ts';

const FEW = { values: 10, depth: 3 };

test.each([
  ['as many values as are allowed', '[1,[],{"a":2},3,4,5,6]', undefined],
  ['one value more', '[1,[],{"a":2},3,4,5,6,7]', 'it has 11 values or more by character 21, at most 10 are read'],
  ['as deep as is allowed', '[[[]],{"a":[]}]', undefined],
  ['one level more', '[[], [[[]]]]', 'it nests 4 levels deep at character 7, at most 3 are read'],
  ['brackets and commas in texts', '["[[[[,,,,,,,,,,,", "\\"[[[[", "\\\\"]', undefined],
  ['a text that does not end', '["[[[[[[[', undefined],
  ['a text that ends in a backslash', '["\\', undefined],
  ['more ends than starts', ']]]]]', undefined],
])('%s', (_, text, said) => expect(beyondJsonLimits(text, FEW)).toBe(said));

test('what is within the limits is parsed, what is beyond them never', () => {
  expect(parseBounded('[1,{"a":2}]', FEW)).toEqual([1, { a: 2 }]);
  expect(() => parseBounded('[[[[', FEW)).toThrow(new RangeError('it nests 4 levels deep at character 3, at most 3 are read'));
  expect(() => parseBounded('[', FEW)).toThrow(SyntaxError);
});

test('no JSON has more values than are counted, nor nests deeper', () => {
  const size = (value: unknown): readonly [values: number, depth: number] => {
    if (typeof value !== 'object' || value === null) return [1, 0];
    const inner = Object.values(value).map(size);
    return [inner.reduce((sum, [values]) => sum + values, 1), 1 + Math.max(0, ...inner.map(([, depth]) => depth))];
  };
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const [values, depth] = size(value);
      const text = JSON.stringify(value);
      if (values > 1) expect(beyondJsonLimits(text, { values: values - 1, depth })).toContain('values');
      if (depth > 0) expect(beyondJsonLimits(text, { values: 2 * values, depth: depth - 1 })).toContain('levels');
      expect(beyondJsonLimits(text, { values: 2 * values, depth })).toBeUndefined();
    }),
  );
});
