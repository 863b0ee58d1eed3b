import { readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createSpoolCache } from '../../../src/io/http/spool-cache.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-spool-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('a partial file that is taken over never looks as if anybody might take it', async () => {
  const first = createSpoolCache(folder, 100);
  const { path } = await first.begin('key');
  await writeFile(path, 'bytes');
  await first.handOn(path);
  const free = (): readonly string[] =>
    readdirSync(folder)
      .map((name) => join(folder, name))
      .filter((each) => Date.now() - statSync(each).mtimeMs > 60_000);
  expect(free()).toEqual([path]);

  // Asked for in the midst of taking it, when another process might look as well.
  const seen: string[] = [];
  const second = createSpoolCache(folder, 100, () => {
    seen.push(...free());
    return Date.now();
  });
  const taken = await second.begin('key');
  expect(taken).toMatchObject({ taken: true });
  expect(new Set([...seen, ...free()])).toEqual(new Set([path]));
  expect(readdirSync(folder)).toEqual([taken.path.slice(folder.length + 1)]);
  await second.drop(taken.path);
});
