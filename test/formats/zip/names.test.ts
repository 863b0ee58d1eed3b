import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isSafeName, plainDigest, twinsAmong } from '../../../src/formats/zip/names.ts';

const digestOf = (name: string): number | undefined => plainDigest(Buffer.from(name), 0, Buffer.byteLength(name));
const named = (names: readonly string[]) => names.map((name) => ({ name }));

test.each(['a', 'archive/data/0', 'A_b-c.d/e', '.data/version'])('%s is plain', (name) => {
  expect(digestOf(name)).toEqual(expect.any(Number));
});

test.each(['', '/a', 'a/', 'a//b', '..', 'a/../b', 'a..b', 'a b', 'a\\b', 'a\0', 'é', 'a:b'])('%j is not', (name) => {
  expect(digestOf(name)).toBeUndefined();
});

test('what is around a name is not part of it', () => {
  expect(plainDigest(Buffer.from('xx/a/b/xx'), 3, 6)).toBe(digestOf('a/b'));
});

test('twins are found whatever the digests say, and whether there are any', () => {
  const name = fc.stringMatching(/^[aAbB]{1,4}$/);
  fc.assert(
    fc.property(fc.array(name, { maxLength: 40 }), fc.constantFrom('own', 'equal', 'none'), (names, kind) => {
      const folded = names.map((each) => each.toLowerCase());
      const later = folded.findIndex((each, index) => folded.indexOf(each) < index);
      const digests = { own: Int32Array.from(names, (each) => digestOf(each)!), equal: new Int32Array(names.length), none: null }[kind];
      const expected = later === -1 ? undefined : [names[folded.indexOf(folded[later]!)], names[later]];
      expect(twinsAmong(named(names), digests)).toEqual(expected);
    }),
  );
});

test('very many names chosen to have one digest cost no more than others', () => {
  const names = Array.from({ length: 100_000 }, (_, index) => `a/${index}`);
  const started = performance.now();
  expect(twinsAmong(named(names), new Int32Array(names.length))).toBeUndefined();
  expect(twinsAmong(named([...names, 'A/5']), new Int32Array(names.length + 1))).toEqual(['a/5', 'A/5']);
  expect(performance.now() - started).toBeLessThan(10_000);
});

test.each(['a', 'a/b', 'x:y/data.pkl', 'C:/a', 'a..b/c', 'é'])('%j stays where it is put', (name) => expect(isSafeName(name)).toBe(true));
test.each(['', '/a', '..', '../a', 'a/../b', 'a\\b', 'C:\\a', 'a\0'])('%j does not', (name) => expect(isSafeName(name)).toBe(false));
