/** What is refused before a set is written, in which order, and what goes. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ownStorage } from '../../../src/app/storage.ts';
import { destinationOf } from '../../../src/io/publish/destination.ts';
import { makeWay } from '../../../src/io/publish/make-way.ts';
import type { Overwrite } from '../../../src/io/publish/overwrite.ts';

const NO_ROOM = 2 ** 60;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-way-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function make(overwrite: Overwrite, size: number): Promise<readonly string[]> {
  const [index = '', ...places] = ['index', 'a', 'b'].map((name) => join(folder, name));
  const files = places.map((uri) => ({ uri, size }));
  return makeWay(destinationOf(await ownStorage(), index), { files, beside: 0, token: 'token', content: 'content', index, overwrite });
}

test.each(['index', 'b'])('a set of which `%s` is there is refused for that, however full the disk is', async (name) => {
  await writeFile(join(folder, name), '{}');
  await expect(make('never', NO_ROOM)).rejects.toMatchObject({ details: { reason: 'exists' } });
  await expect(make('if_changed', NO_ROOM)).rejects.toMatchObject({ details: { reason: 'no_room' } });
  expect(await readdir(folder)).toEqual([name]);
});

test('an index of one of the files goes once there is room; of others it stays, and they are named', async () => {
  await writeFile(join(folder, 'index'), JSON.stringify({ weight_map: { t: 'b', u: 'c' } }));
  expect(await make('if_changed', 1)).toEqual(['c']);
  expect(await readdir(folder)).toEqual([]);
  await writeFile(join(folder, 'index'), JSON.stringify({ weight_map: { u: 'c' } }));
  expect(await make('if_changed', 1)).toEqual(['c']);
  expect(await readdir(folder)).toEqual(['index']);
});
