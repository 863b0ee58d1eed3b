/** Folders are looked through as far as it takes, however large they are. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { entriesBelow, filesBelow } from '../../../src/io/locations/files-below.ts';
import { createStorage } from '../../../src/io/storage/storage.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-below-'));
  await mkdir(join(folder, 'b', 'c'), { recursive: true });
  for (const name of ['z.pt', 'a.pt', 'b/x.pt', 'b/c/y.pt']) await writeFile(join(folder, name), '');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('files at any depth, sorted; links to files count, links to folders lead nowhere', async () => {
  await symlink(join(folder, 'a.pt'), join(folder, 'link.pt'));
  await symlink(folder, join(folder, 'b', 'circle'));
  const found = await filesBelow(folder, createStorage(), 100);
  expect(found!.map(({ key }) => key)).toEqual(['a.pt', 'b/c/y.pt', 'b/circle', 'b/x.pt', 'link.pt', 'z.pt']);
  expect(await filesBelow(join(folder, 'a.pt'), createStorage(), 100)).toBeNull();
});

test('more than are allowed', async () => {
  await expect(filesBelow(folder, createStorage(), 5)).rejects.toThrow('holds more than 5 files');
  expect(await filesBelow(folder, createStorage(), 6)).toHaveLength(4);
});

test('a folder is read when those before it have been told of', async () => {
  const entries = entriesBelow(folder);
  await entries.next();
  await writeFile(join(folder, 'b', 'c', 'late.pt'), '');
  const rest: string[] = [];
  for await (const { path } of entries) rest.push(path);
  expect(rest).toContain(join(folder, 'b', 'c', 'late.pt'));
});
