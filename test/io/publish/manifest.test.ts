/** The manifest's text: JSON as ever, with a line for each tensor. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ownStorage } from '../../../src/app/storage.ts';
import { CheckpointSourceError } from '../../../src/errors.ts';
import { destinationOf, type Destination } from '../../../src/io/publish/destination.ts';
import {
  isAsPublished,
  manifestPath,
  readManifest,
  renewRecipe,
  writeManifest,
  type Manifest,
  type ManifestContent,
} from '../../../src/io/publish/manifest.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-manifest-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const contentOf = (names: readonly string[]): ManifestContent => ({
  format: 'safetensors',
  size: 3,
  planSha256: 'p',
  source: [{ uri: 'file:///a', size: 1, identity: '\n  "tensors": []' }],
  tensors: names.map((name, index) => ({ name, dtype: 'F32', shape: [index], ...(index % 2 === 0 ? { sha256: 'abc' } : {}) })),
  skipped: [{ what: '\n  "tensors": []', reason: 'r' }],
  dropped: [],
  frozen: names.slice(0, 2),
  record: { tensors: [], deeper: { tensors: [] } },
});

test.each([
  ['none', []],
  ['of any name', ['a', '},{"name":', '\n  "tensors": []', '"', '__proto__', '\u2028é\ud83d\ude00', '']],
  ['thousands', Array.from({ length: 5000 }, (_, index) => `t${index}`)],
])('tensors: %s', async (what, names) => {
  const uri = pathToFileURL(join(folder, `${what}.safetensors`)).href;
  const files = destinationOf(await ownStorage(), uri);
  await writeFile(new URL(uri), 'abc');
  const content = contentOf(names);
  await writeManifest(files, { uri, identity: (await files.identity(uri))!.identity, token: 'test' }, content);
  const manifest = await readManifest(files, uri);
  expect(manifest).toEqual({ version: 1, uri, identity: expect.any(String), created: expect.any(String), ...content });
  expect(Object.keys(manifest!)).toEqual(['version', 'uri', 'identity', 'created', ...Object.keys(content)]);
  const text = await readFile(new URL(manifestPath(uri)), 'utf8');
  expect(text.split('\n').filter((line) => line.startsWith('    {"name":'))).toHaveLength(names.length);
  expect(text).toMatch(/^\{\n {2}"version": 1,\n[^]*\n\}\n$/);

  const recipe = { sha256: 'r', inputs: [] };
  await renewRecipe(files, uri, manifest!, { recipe, token: 'test' });
  expect(await readManifest(files, uri)).toEqual({ ...manifest, recipe });
});

test('none is written for an output that another run has replaced, or removed', async () => {
  const uri = pathToFileURL(join(folder, 'replaced.safetensors')).href;
  const files = destinationOf(await ownStorage(), uri);
  const identity = await files.write(uri, 'abc');
  await files.write(uri, 'def');
  const writing = (): Promise<void> => writeManifest(files, { uri, identity, token: 'test' }, contentOf(['a']));
  await expect(writing()).rejects.toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { expected: identity } });
  await files.remove(uri);
  await expect(writing()).rejects.toThrow('is gone before its manifest was written');
  expect(await readManifest(files, uri)).toBeNull();
});

test('one with another recipe is not left beside the output of another run', async () => {
  const uri = pathToFileURL(join(folder, 'renewed.safetensors')).href;
  const files = destinationOf(await ownStorage(), uri);
  const identity = await files.write(uri, 'abc');
  await writeManifest(files, { uri, identity, token: 'test' }, contentOf(['a']));
  const manifest = (await readManifest(files, uri))!;
  const recipe = { sha256: 'r', inputs: [] };
  const meanwhile: Destination = {
    ...files,
    async writeLong(...args) {
      await files.write(uri, 'theirs');
      return files.writeLong(...args);
    },
  };
  await renewRecipe(meanwhile, uri, manifest, { recipe, token: 'test' });
  expect(await readManifest(files, uri)).toBeNull();
  // Replaced before: what lies there is about that.
  const theirs = { uri, identity: (await files.identity(uri))!.identity, token: 'theirs' };
  await writeManifest(files, theirs, contentOf(['b']));
  await renewRecipe(files, uri, manifest, { recipe, token: 'test' });
  expect((await readManifest(files, uri))!.tensors).toEqual(contentOf(['b']).tensors);
});

test('an output that is not there is not as published, whatever its manifest leaves out', async () => {
  const uri = pathToFileURL(join(folder, 'nothing.safetensors')).href;
  const { identity: _, ...manifest } = { version: 1, uri, identity: 'x', created: '', ...contentOf([]) } as const;
  expect(await isAsPublished(destinationOf(await ownStorage(), uri), uri, manifest as Manifest)).toBe(false);
});

test.each([
  ['values without end', `[${'{},'.repeat(3_000_000)}{}]`],
  ['another version', '{"version":2}'],
  ['no object', 'null'],
  ['no JSON', ''],
])('%s: no manifest', async (_, text) => expect(await readManifest({ read: async () => text }, 'file:///a')).toBeNull());

describe('one that somebody else has written', () => {
  const uri = 'file:///out/m.index.json';
  const base = { version: 1, uri, identity: 'i', created: 'c', ...contentOf(['a']) };
  const read = (changed: object): Promise<unknown> => readManifest({ read: async () => JSON.stringify({ ...base, ...changed }) }, uri);

  test.each([
    ['nothing', {}],
    ['the place that it names', { uri: 'file:///elsewhere/x' }],
    ['shards beside it', { shards: [{ uri: 'file:///out/a%20b', size: 1, identity: 'i' }] }],
    ['its recipe', { recipe: { sha256: 'r', inputs: [{ uri: 'file:///a', size: 1, identity: 'i' }] } }],
  ])('is taken with another value of %s', async (_, changed) => expect(await read(changed)).toMatchObject({ version: 1, ...changed }));

  test.each([
    ...[null, 5, [null], [{}], [{ name: 'a', dtype: 'F32', shape: null }]].map((tensors) => ({ tensors })),
    ...[null, 5, [null], [{}], [{ uri: 5 }], [{ uri: 'file:///out/%zz' }], [{ uri: 'http://x/' }], [{ uri: 'file:///elsewhere/x' }]].map(
      (shards) => ({ shards }),
    ),
    ...[null, 5, {}, [null], [{ what: 5, reason: 'r' }]].flatMap((list) => [{ skipped: list }, { dropped: list }]),
    ...[null, [5]].map((frozen) => ({ frozen })),
    ...[null, 5, [], { sha256: 'r', inputs: [null] }].map((recipe) => ({ recipe })),
    { identity: 5 },
    { size: '3' },
    { record: null },
  ])('is none with %j', async (changed) => expect(await read(changed)).toBeNull());

  test('its recipe is renewed beside the output, wherever it says that the output is', async () => {
    const output = pathToFileURL(join(folder, 'own.safetensors')).href;
    const elsewhere = pathToFileURL(join(folder, 'elsewhere.safetensors')).href;
    const files = destinationOf(await ownStorage(), output);
    const identity = await files.write(output, 'abc');
    const manifest = { ...base, version: 1, uri: elsewhere, identity } as const;
    await renewRecipe(files, output, manifest, { recipe: { sha256: 'r', inputs: [] }, token: 'test' });
    expect(await readManifest(files, output)).toMatchObject({ uri: output, recipe: { sha256: 'r' } });
    expect(await readManifest(files, elsewhere)).toBeNull();
  });
});

test('what cannot be asked for is not an answer', async () => {
  const fault = new CheckpointSourceError('The store is away.', 'file:///a');
  await expect(readManifest({ read: () => Promise.reject(fault) }, 'file:///a')).rejects.toBe(fault);
});
