import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { MODULES_FILE, modulesDigest, programDigest } from '../../activities/program.ts';

test('what the build wrote of the modules is their digest', () => {
  expect(readFileSync(MODULES_FILE, 'latin1')).toBe(modulesDigest());
  expect(programDigest()).toMatch(/^[0-9a-f]{64}$/);
});
