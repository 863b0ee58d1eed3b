/** A folder is left out only where no glob fits anything below it. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { pathGlob } from '../../../src/io/batch-items.ts';
import { foldersOf } from '../../../src/io/locations/folders-of-globs.ts';

test.each<readonly [glob: string, into: readonly string[], notInto: readonly string[]]>([
  ['*.ckpt', ['', ''], ['a/', 'a/b/']],
  ['a/**', ['a/', 'a/b/', 'a/b/c/'], ['b/', 'ab/']],
  ['**/x', ['a/', 'a/b/c/'], []],
  ['*/x', ['a/'], ['a/b/']],
  ['run-?/*/last.pt', ['run-1/', 'run-1/x/'], ['run-10/', 'run-1/x/y/', 'x/']],
  ['{a,b/c}/*.pt', ['a/', 'b/', 'b/c/'], ['c/', 'a/c/', 'b/d/']],
  ['{a,{b,c}d}/x/**', ['a/', 'bd/', 'cd/x/y/'], ['b/', 'd/', 'a/y/']],
  ['a/b**/x', ['a/', 'a/bc/', 'a/bc/d/'], ['c/']],
  ['{x,**/y}.pt', ['a/b/'], []],
  ['a,b/}', ['a,b/'], ['a/', 'b/']],
])('%s', (glob, into, notInto) => {
  const reaches = foldersOf([glob]);
  expect(into.filter((folder) => !reaches(folder))).toEqual([]);
  expect(notInto.filter(reaches)).toEqual([]);
});

test('one of several globs is enough', () => {
  const reaches = foldersOf(['a/*', 'b/*']);
  expect(['a/', 'b/', 'c/'].filter(reaches)).toEqual(['a/', 'b/']);
});

test('a glob of very many alternatives reaches everything', () => {
  expect(foldersOf(['{a,b}'.repeat(20)])('x/')).toBe(true);
});

test('every folder above what fits is reached', () => {
  const piece = fc.constantFrom('a', 'b', '/', '*', '**', '**/', '?', '{a,b}', '{a/b,}', '{*,b/**}', ',');
  const glob = fc.array(piece, { minLength: 1, maxLength: 7 }).map((pieces) => pieces.join(''));
  const path = fc.array(fc.constantFrom('a', 'b', 'ab', ','), { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
  fc.assert(
    fc.property(glob, path, (one, key) => {
      if (!pathGlob(one)(key)) return;
      const names = key.split('/').slice(0, -1);
      const reaches = foldersOf([one]);
      for (let depth = 0; depth <= names.length; depth++)
        expect(
          reaches(
            names
              .slice(0, depth)
              .map((name) => `${name}/`)
              .join(''),
          ),
        ).toBe(true);
    }),
    { numRuns: 5000 },
  );
});
