/** What is left to the engine's own regular expressions: the same answers as RE2's, and none that could take long. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { compileReplacement } from '../../src/transform/patterns.ts';
import { plainRegex } from '../../src/transform/plain-regex.ts';

test.each(['^encoder\\.(\\d+)\\.', '^model\\.([^.]+)\\.(\\w+)$', '^a*b', '^[a-f0-9]+-', '^[\\w.]+$'])('%s is plain', (pattern) =>
  expect(plainRegex(pattern)).toEqual(new RegExp(pattern)),
);

test.each([
  ['not anchored', 'encoder\\.'],
  ['any character', '^model.layers'],
  ['an alternative', '^(a|b)'],
  ['a repeated group', '^(a\\.)+b'],
  ['what repeats meets itself', '^a*a'],
  ['a class that meets the next', '^\\w+\\d'],
  ['two that repeat', '^\\d+\\w*x'],
  ['a lazy quantifier', '^a+?b'],
  ['a count', '^a{2}b'],
  ['one that may be missing', '^a?b'],
  ['a class by its name', '^[[:alpha:]]+'],
  ['a flag', '^(?i)a'],
  ['white space, which the engines see differently', '^\\s+a'],
  ['the start again', '^^a'],
  ['an end that is not last', '^a$b'],
  ['one character of any kind but one', '^[^.]\\.'],
  ['letters beyond ASCII', '^é'],
  ['a range that is none', '^[z-a]+'],
  ['nothing', '^'],
  ['a group that does not end', '^(a'],
])('%s is not: %s', (_, pattern) => expect(plainRegex(pattern)).toBeNull());

test('plain patterns fit and replace as RE2 does', () => {
  const piece = fc.constantFrom('a', 'b', '1', '.', 'é', '\ud83d\ude00', '\n', 'layer', '-');
  const item = fc.constantFrom('a', 'b', '\\.', '\\d', '\\w', '[ab]', '[^.]', '[a-f0-9]', '-', 'layer', '\\$');
  const part = fc.tuple(item, fc.constantFrom('', '', '+', '*'), fc.boolean()).map(([one, times, isGroup]) => {
    const text = `${one}${times}`;
    return isGroup ? `(${text})` : text;
  });
  const pattern = fc
    .tuple(fc.array(part, { minLength: 1, maxLength: 5 }), fc.boolean())
    .map(([parts, ends]) => `^${parts.join('')}${ends ? '$' : ''}`);
  const replacement = fc.constantFrom('', 'x', '$1', '$1$1', '$&$&', '$2-$1', 'x$2', '$$', '$$1', '$10', '$0', '$a', "$'", '$`');
  let plain = 0;
  fc.assert(
    fc.property(pattern, fc.array(piece, { maxLength: 8 }), replacement, (source, pieces, text) => {
      const regex = plainRegex(source);
      if (regex === null) return;
      plain++;
      const name = pieces.join('');
      const re2 = RE2JS.compile(source);
      expect(regex.test(name)).toBe(re2.test(name));
      const replaced = re2.matcher(name).replaceAll(text);
      expect(name.replace(regex, text)).toBe(replaced);
      expect(compileReplacement(source, text, 'rules[0]').apply(name)).toBe(replaced);
    }),
    { numRuns: 1000 },
  );
  expect(plain).toBeGreaterThan(30);
});

test('a name of a million characters is looked at once', () => {
  const name = 'a'.repeat(1_000_000);
  expect(plainRegex('^a+(b)c')!.test(name)).toBe(false);
  expect(plainRegex('^[^.]+\\.')!.test(name)).toBe(false);
});
