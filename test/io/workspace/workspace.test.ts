import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openWorkspace } from '../../../src/io/workspace/workspace.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-workspace-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a blob is named by its content and read back', async () => {
  const workspace = openWorkspace(folder);
  const reference = await workspace.putJson({ a: [1, 'ü'] });
  expect(reference.uri).toContain(reference.sha256);
  expect(await workspace.getJson(reference)).toEqual({ a: [1, 'ü'] });
  expect(await workspace.putJson({ a: [1, 'ü'] })).toEqual(reference);
});

test('a damaged blob is refused, and written anew by who has its content', async () => {
  const workspace = openWorkspace(folder);
  const reference = await workspace.putJson({ damaged: true });
  const path = fileURLToPath(reference.uri);
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace('true', 'fals'));
  await expect(workspace.getJson(reference)).rejects.toMatchObject({ code: 'CheckpointLoadError' });
  await workspace.putJson({ damaged: true });
  expect(await workspace.getJson(reference)).toEqual({ damaged: true });
});

test('what values share lies there once, is young again with each, and is mended where it was damaged', async () => {
  const place = join(folder, 'shared');
  const names = Array.from({ length: 20_000 }, (_, index) => `blocks.${index}.attention.weight`);
  const workspace = openWorkspace(place);
  const first = await workspace.putJson({ names, a: 1 });
  const files = async (): Promise<readonly string[]> =>
    (await readdir(place, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  const [part, ...others] = (await files()).filter((path) => !path.includes(first.sha256));
  expect(others).toEqual([]);
  expect(first.size).toBe((await stat(part!)).size + (await stat(fileURLToPath(first.uri))).size);
  const { ino } = await stat(part!);
  const old = new Date(0);
  await utimes(part!, old, old);

  const second = await workspace.putJson({ names: [...names], b: 2 });
  expect(await files()).toHaveLength(3);
  expect(await stat(part!)).toMatchObject({ ino });
  expect((await stat(part!)).mtimeMs).toBeGreaterThan(0);
  expect(await workspace.getJson(first)).toEqual({ names, a: 1 });
  expect(await workspace.getJson(second)).toEqual({ names, b: 2 });

  const text = await readFile(part!, 'utf8');
  await writeFile(part!, text.replace('attention', 'attentiom'));
  await expect(workspace.getJson(second)).rejects.toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining(part!) });
  await workspace.putJson({ names, c: 3 });
  expect(await workspace.getJson(second)).toEqual({ names, b: 2 });
});

test('a workspace that this worker does not see says so', async () => {
  const reference = await openWorkspace(folder).putJson({ here: 1 });
  const elsewhere = { ...reference, uri: reference.uri.replace(folder, join(folder, 'elsewhere')) };
  await expect(openWorkspace(folder).getJson(elsewhere)).rejects.toThrow(/must share one workspace/);
});

test('a blob that the system cannot read now may be read the next time', async () => {
  const reference = await openWorkspace(folder).putJson({ here: 2 });
  const path = fileURLToPath(reference.uri);
  await rm(path);
  // The system's answer to who reads one is an error as any other.
  await mkdir(path);
  await expect(openWorkspace(folder).getJson(reference)).rejects.toMatchObject({
    code: 'CheckpointSourceError',
    retryable: true,
    message: expect.stringContaining(`${path} of the run's workspace cannot be read: EISDIR`),
  });
});
