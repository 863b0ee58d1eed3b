/** What an earlier stage will publish is not missing, however it is spelt where it is read. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { loadCatalog } from '../../activities/catalog.ts';
import { preflight } from '../../activities/preflight.ts';
import { servicesOf } from '../support/temporal.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt preflight-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Paths of the problems of a pipeline that publishes `written`, and then reads `read`. */
async function problems(written: string, read: string): Promise<readonly string[]> {
  const stages = [
    { type: 'sink.publish', options: { uri: written } },
    { type: 'source.local', options: { path: read } },
  ];
  const found = await preflight(await loadCatalog(), servicesOf(join(folder, 'workspace')), { stages, workspace: null });
  return found.problems.map(({ path }) => path);
}

const href = (path: string): string => pathToFileURL(path).href;

test.each<[string, (path: string) => string, (path: string) => string]>([
  ['the same path', (path) => path, (path) => path],
  ['a path and its URI, with escapes', (path) => path, href],
  ['a URI and its path', href, (path) => path],
  ['steps that lead nowhere', (path) => path, (path) => path.replace('/x.', '/./sub/..//x.')],
  ['an index beside it', (path) => path, (path) => href(`${path}.index.json`)],
  ['its folder', (path) => path, () => folder],
  ['its folder, with a slash', href, () => `${folder}/`],
])('%s', async (_, written, read) => {
  const path = join(folder, 'x.safetensors');
  expect(await problems(written(path), read(path))).toEqual([]);
});

test.each([
  ['another file of its folder', 'y.safetensors'],
  ['an index in another folder', 'sub/x.safetensors.index.json'],
  ['another folder', 'sub'],
])('%s is missing', async (_, name) => {
  expect(await problems(join(folder, 'x.safetensors'), join(folder, name))).toEqual(['stages[1].path']);
});

test.each([
  ['a path', '長'.repeat(220), '/長長長'],
  ['a URI', 'a'.repeat(1900), 's3://bucket/aaa'],
])('%s that no context has room for is refused before anything is moved', async (kind, name, begins) => {
  const place = kind === 'a URI' ? `s3://bucket/${name}` : `/${name}`;
  const stages = [{ type: 'sink.publish', options: { uri: place } }];
  const { problems: found } = await preflight(await loadCatalog(), servicesOf(join(folder, 'workspace')), { stages, workspace: null });
  expect(found).toMatchObject([
    {
      path: 'stages[0].uri',
      error: { type: 'CheckpointConfigError', message: expect.stringContaining(`the limit is 1800: "${begins}`) },
    },
  ]);
});

test('a target that is missing is called so', async () => {
  const stages = [{ type: 'loader.transfer_learning', options: { target: join(folder, 'no.ckpt') } }];
  const { problems } = await preflight(await loadCatalog(), servicesOf(join(folder, 'workspace')), { stages, workspace: null });
  expect(problems).toMatchObject([{ path: 'stages[0].target', transient: false, error: { type: 'CheckpointNotFoundError' } }]);
  expect(problems[0]!.error.message).toMatch(/^`target`: There is no file/);
});

test('a target that is not said is a fault of the document, with advice of its own', async () => {
  const stages = [{ type: 'loader.weights_only', options: { strict: true } }];
  const { problems } = await preflight(await loadCatalog(), servicesOf(join(folder, 'workspace')), { stages, workspace: null });
  expect(problems).toMatchObject([
    { path: 'stages[0].target', kind: 'config', error: { type: 'CheckpointConfigError', details: { reason: 'target_required' } } },
  ]);
});
