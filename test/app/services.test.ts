/** What a worker's workspace opens and writes: nothing but what lies in it, however a place is spelt. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Workspace } from '../../activities/services.ts';
import { createServices } from '../../src/app/services.ts';
import { NO_SETTINGS } from '../../src/io/storage/settings.ts';
import { createStorage, type Storage } from '../../src/io/storage/storage.ts';

let folder: string;
let storage: Storage;
let own: Workspace;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-services-'));
  await mkdir(join(folder, 'work', 'batches'), { recursive: true });
  await writeFile(join(folder, 'work', 'batches', 'results.jsonl'), '{}\n');
  await writeFile(join(folder, 'secret.jsonl'), 'secret\n');
  const allow = { ...NO_SETTINGS.allow, roots: [join(folder, 'allowed')] };
  storage = createStorage({ settings: { ...NO_SETTINGS, allow }, cacheFolder: join(folder, 'cache') });
  own = createServices(storage, { workspace: join(folder, 'work') }).workspace(null);
});
afterAll(async () => {
  storage?.close();
  await rm(folder, { recursive: true, force: true });
});

async function* lines(): AsyncGenerator<string> {
  yield '{}\n';
}

test.each(['batches/results.jsonl', 'batches/../batches/results.jsonl'])('a file of it is opened: %s', async (name) => {
  const opened = await own.openFile(`${pathToFileURL(join(folder, 'work')).href}/${name}`);
  expect(opened?.size).toBe(3);
  await opened?.close();
});

test.each(['work/../secret.jsonl', 'work/%2e%2e/secret.jsonl', 'work/batches/.%2E/../secret.jsonl', 'secret.jsonl', 'workshop/x'])(
  'what lies elsewhere is not its own, and the fence of all others holds for it: %s',
  async (name) => {
    expect(await own.openFile(`${pathToFileURL(folder).href}/${name}`)).toBeNull();
    // In a path, `%` is a character as any other.
    if (!name.includes('%')) expect(await own.openFile(`${folder}/${name}`)).toBeNull();
  },
);

test('nor is an address of the web or of a store', async () => {
  for (const uri of ['https://example.org/work/batches/results.jsonl', 's3://bucket/work/x']) expect(await own.openFile(uri)).toBeNull();
});

test('a reference that leads out of it is refused', async () => {
  const sha256 = '0'.repeat(64);
  const uri = `${pathToFileURL(join(folder, 'work')).href}/blobs/../../secret.jsonl`;
  await expect(own.getJson({ uri, sha256, size: 7 })).rejects.toMatchObject({ code: 'CheckpointConfigError' });
});

test('files are written into it alone', async () => {
  const written = await own.writeFile('batches/other.jsonl', lines());
  expect(await readFile(fileURLToPath(written), 'utf8')).toBe('{}\n');
  await expect(own.writeFile('batches/../../out.jsonl', lines())).rejects.toMatchObject({ code: 'CheckpointConfigError' });
});
