import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { makeFolder } from '../../../src/io/local/folders.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-folders-'));
  await writeFile(join(folder, 'file'), '');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('gives the first that it made', async () => {
  expect(await makeFolder(join(folder, 'a', 'b', 'c'))).toBe(join(folder, 'a'));
  expect((await stat(join(folder, 'a', 'b', 'c'))).isDirectory()).toBe(true);
  expect(await makeFolder(join(folder, 'a', 'd'))).toBe(join(folder, 'a', 'd'));
  expect(await makeFolder(join(folder, 'a'))).toBeUndefined();
});

test('many at once make one', async () => {
  const path = join(folder, 'x', 'y', 'z');
  await Promise.all(Array.from({ length: 20 }, () => makeFolder(path)));
  expect((await stat(path)).isDirectory()).toBe(true);
});

test('a file in its place, or above it, is an error', async () => {
  await expect(makeFolder(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeFolder(join(folder, 'file', 'a', 'b'))).rejects.toMatchObject({ code: 'ENOTDIR' });
});

// Node's recursive mkdir never ends there; other systems have no such place, and nothing to show.
(process.platform === 'linux' ? test : test.skip)('where nothing can be made, it ends with an error', async () => {
  await expect(makeFolder('/proc/nope/deeper')).rejects.toMatchObject({ syscall: 'mkdir' });
});
