import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openWorkspace } from '../../src/io/workspace.ts';

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

test('a workspace that this worker does not see says so', async () => {
  const reference = await openWorkspace(folder).putJson({ here: 1 });
  const elsewhere = { ...reference, uri: reference.uri.replace(folder, join(folder, 'elsewhere')) };
  await expect(openWorkspace(folder).getJson(elsewhere)).rejects.toThrow(/must share one workspace/);
});
