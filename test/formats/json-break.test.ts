/** Where a text ceases to be JSON, without a word of it. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { jsonBreak, parseJson } from '../../src/formats/json-break.ts';

test.each([
  ['{"uri": hunter2}', 8],
  ['hunter2', 0],
  ['{"a": "hunter2', 14],
  ['{"a":1} x', 8],
  ['', 0],
  [' [1, 2', 6],
  ['[1,]', 3],
  ['{"a":1,}', 7],
  ['{"a" 1}', 5],
  ['{1:2}', 1],
  ['[1 2]', 3],
  ['[01]', 2],
  ['[1.]', 2],
  ['[nul]', 1],
  ['["a\tb"]', 3],
  [String.raw`["a\qb"]`, 3],
  [String.raw`["\u12"]`, 2],
  ['[}', 1],
  ['[]]', 2],
])('%j breaks at %i', (text, at) => expect(jsonBreak(text)).toBe(at));

test('the error says where, and nothing of what stands there', () => {
  expect(() => parseJson('{"uri": hunter2}')).toThrow(new SyntaxError('what stands at character 8 is not JSON'));
  expect(() => parseJson('{"uri": "hunter2')).toThrow(new SyntaxError('its JSON ends too early'));
  expect(parseJson('{"a": [1]}')).toEqual({ a: [1] });
});

test('JSON has no break, and all that is none has one', () => {
  const isJson = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const changed = fc.tuple(fc.json(), fc.nat(), fc.constantFrom('', ...'{}[]",:\\u01eE.-+tn \n\t\u0000é')).map(([text, nat, character]) => {
    const at = nat % (text.length + 1);
    return text.slice(0, at) + character + text.slice(at + 1);
  });
  fc.assert(
    fc.property(fc.oneof(fc.json(), changed), (text) => {
      expect(jsonBreak(text) === undefined).toBe(isJson(text));
    }),
    { numRuns: 2000 },
  );
});
