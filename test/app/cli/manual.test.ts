/** The page that an error names is there, wherever the user stands. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { errorsPage } from '../../../src/app/cli/manual.ts';
import { PROJECT_ROOT } from '../../support/project.ts';

const PAGE = join(PROJECT_ROOT, 'docs', 'operations.md');

test('as it is seen from there, or whole where that is shorter', () => {
  expect(errorsPage(PROJECT_ROOT)).toBe('docs/operations.md');
  expect(errorsPage(join(PROJECT_ROOT, 'examples'))).toBe('../docs/operations.md');
  expect(errorsPage('/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z')).toBe(PAGE);
  for (const folder of ['/', '/tmp', join(PROJECT_ROOT, '..')]) expect(existsSync(resolve(folder, errorsPage(folder)))).toBe(true);
});

test('a package that is installed beside the user', () => {
  const place = join(PROJECT_ROOT, 'node_modules', 'zod', 'package.json');
  expect(errorsPage(PROJECT_ROOT, place)).toBe('node_modules/zod/package.json');
});

test('without the pages it is named all the same', () => {
  expect(errorsPage('/tmp', '/nowhere/docs/operations.md')).toBe('docs/operations.md');
});
