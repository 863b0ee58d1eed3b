/** What the doctor makes of the machine. */
import { expect, test } from '@jest/globals';
import { filesFinding, openFilesLimit } from '../../../src/app/doctor/machine.ts';

test.each([
  [64, 'problem'],
  [512, 'warning'],
  [1024, 'ok'],
])('%i files that may be open: %s', (limit, status) => {
  const found = filesFinding(limit);
  expect(found).toMatchObject({ check: 'files', status, message: `${limit} may be open at a time` });
  expect(found?.advice ?? '`ulimit -n 1024`').toContain('`ulimit -n 1024`');
});

test('where there is no limit, nothing is said; this process has one, or none', () => {
  expect(filesFinding(null)).toBeNull();
  const limit = openFilesLimit();
  expect(limit === null || Number.isSafeInteger(limit)).toBe(true);
});
