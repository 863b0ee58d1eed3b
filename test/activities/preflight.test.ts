/** What an earlier stage will publish is not missing, however it is spelt where it is read. */
import { link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { loadCatalog } from '../../activities/catalog.ts';
import { outputClashes } from '../../activities/output-clashes.ts';
import { preflight } from '../../activities/preflight.ts';
import type { JsonObject } from '../../src/errors.ts';
import type { PlainStage } from '../../src/pipeline/contract.ts';
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

describe('an output in the place of a source', () => {
  const found = async (stages: readonly PlainStage[]) =>
    (await preflight(await loadCatalog(), servicesOf(join(folder, 'workspace')), { stages, workspace: null })).problems;
  const source = (path: string): PlainStage => ({ type: 'source.local', options: { path } });
  const object = (url: string): PlainStage => ({ type: 'source.s3', options: { url } });
  const loader: PlainStage = { type: 'loader.weights_only', options: {} };
  const sink = (uri: string, more: JsonObject = {}): PlainStage => ({ type: 'sink.publish', options: { uri, format: 'pytorch', ...more } });
  const refused = { error: { type: 'CheckpointConfigError', details: { reason: 'own_source' } } };

  test('is refused however it is spelt, before anything is read', async () => {
    const path = join(folder, 'x.ckpt');
    await writeFile(path, '');
    for (const uri of [path, href(path), `${folder}/./sub/../x.ckpt`])
      expect(await found([source(path), loader, sink(uri)])).toMatchObject([{ path: 'stages[2].uri', kind: 'config', ...refused }]);
    const s3 = outputClashes([object('s3://bucket/x.ckpt?versionId=7'), loader, sink('s3://bucket/x.ckpt')]);
    expect(s3).toMatchObject([{ stage: 2, error: { details: { reason: 'own_source', config_path: 'stages[2].uri' } } }]);
  });

  test('is refused where links make it the same', async () => {
    const path = join(folder, 'x.ckpt');
    await mkdir(join(folder, 'a'));
    await writeFile(path, '');
    await symlink(path, join(folder, 'soft.ckpt'));
    await link(path, join(folder, 'hard.ckpt'));
    await symlink(folder, join(folder, 'a/up'));
    for (const name of ['soft.ckpt', 'hard.ckpt', 'a/up/x.ckpt'])
      expect(await found([source(path), loader, sink(join(folder, name))])).toMatchObject([
        { path: 'stages[2].uri', kind: 'place', ...refused },
      ]);
    expect(await found([source(join(folder, 'soft.ckpt')), loader, sink(path)])).toMatchObject([{ path: 'stages[2].uri', ...refused }]);
  });

  test('is one of each source that it is published from, and of no other', async () => {
    const [x, y] = [join(folder, 'x.ckpt'), join(folder, 'y.ckpt')];
    for (const path of [x, y]) await writeFile(path, '');
    expect(await found([source(x), loader, source(y), loader, sink(x)])).toMatchObject([{ path: 'stages[4].uri', ...refused }]);
    expect(await found([source(x), source(y), loader, sink(x)])).toEqual([]);
    expect(await found([source(x), loader, sink(y)])).toEqual([]);
    // Of shards the stage alone knows the names.
    expect(await found([source(x), loader, sink(x, { format: 'safetensors', shard_size: '5GB' })])).toEqual([]);
  });
});
