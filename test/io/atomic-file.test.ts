import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { destinationOf } from '../../src/io/destination.ts';
import { createStorage } from '../../src/io/storage/storage.ts';

const DEAD = '.out.json.bf463d32-2932-41eb-8863-fb8794aaf6d1.partial';
const ALIVE = '.out.json.0f463d32-2932-41eb-8863-fb8794aaf6d1.partial';
/** Of a transfer, which has its own rules; and of another file. */
const OTHERS = ['.out.json.token.1a2b3c4d.partial', '.out.json.more.bf463d32-2932-41eb-8863-fb8794aaf6d1.partial'];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-atomic-'));
  for (const name of [DEAD, ALIVE, ...OTHERS]) await writeFile(join(folder, name), '{"cut');
  const before = new Date(Date.now() - 60_000);
  for (const name of [DEAD, ...OTHERS]) await utimes(join(folder, name), before, before);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('what a killed process left of a file goes when it is written anew; what another writes now stays', async () => {
  const path = join(folder, 'out.json');
  await destinationOf(createStorage(), path).write(path, '{}');
  expect(await readFile(path, 'utf8')).toBe('{}');
  expect((await readdir(folder)).toSorted()).toEqual([ALIVE, ...OTHERS, 'out.json'].toSorted());
});

test('it goes when a stage discards what it left, too: of the manifest', async () => {
  const dead = `.weights.safetensors.manifest.json${DEAD.slice('.out.json'.length)}`;
  await writeFile(join(folder, dead), '{"cut');
  await utimes(join(folder, dead), 1, 1);
  const path = join(folder, 'weights.safetensors');
  await destinationOf(createStorage(), path).discard(path, 'token');
  expect(await readdir(folder)).not.toContain(dead);
});
