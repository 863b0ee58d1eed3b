/** Attempts and runs after one whose output was complete, and whose manifest never came. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import type { Copied } from '../../../src/io/copy/copy.ts';
import { openLocalFile, openPinned } from '../../../src/io/local/local-file.ts';
import { destinationOf } from '../../../src/io/publish/destination.ts';
import { writeManifest, type ManifestContent } from '../../../src/io/publish/manifest.ts';
import type { Overwrite } from '../../../src/io/publish/overwrite.ts';
import { forgetPartials, partialsFolder } from '../../../src/io/publish/partials.ts';
import { giveWay } from '../../../src/io/publish/publish-index.ts';
import { publishLocal } from '../../../src/io/publish/publish-local.ts';
import { withdraw, withdrawShards } from '../../../src/io/publish/withdraw.ts';
import { createStorage } from '../../../src/io/storage/storage.ts';
import { pin, type ByteSource } from '../../../src/model/byte-source.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { noise } from '../../support/memory-source.ts';

const SIZE = 10_000;
const MANIFEST: ManifestContent = {
  format: 'safetensors',
  size: 1,
  planSha256: '',
  source: [],
  tensors: [],
  skipped: [],
  dropped: [],
  frozen: [],
  record: {},
};

let folder: string;
let plan: Plan;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-again-'));
  await writeFile(join(folder, 'source.bin'), noise(SIZE));
  const file = await openLocalFile(join(folder, 'source.bin'));
  plan = {
    files: [pin(file)],
    storages: [{ file: 0, location: { kind: 'range', offset: 0 }, length: SIZE }],
    tensors: [{ name: 't', dtype: 'U8', shape: [SIZE], origin: { dtype: 'U8', shape: [SIZE], storage: 0, offset: 0 } }],
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
  await file.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Attempt {
  readonly wrap?: (source: ByteSource) => ByteSource;
  readonly content?: string;
}

function publish(uri: string, overwrite: Overwrite, { wrap = (source) => source, content = 'content' }: Attempt = {}): Promise<Copied> {
  return publishLocal({
    uri,
    layout: layoutSafetensors(plan),
    plan,
    open: async (file) => wrap(await openPinned(file)),
    token: 'token',
    content,
    overwrite,
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
}

/** Gives what is there its manifest. */
async function complete(uri: string): Promise<void> {
  const files = destinationOf(createStorage(), uri);
  await writeManifest(files, { uri, identity: (await files.identity(uri))!.identity, token: 'token' }, MANIFEST);
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

describe.each<Overwrite>(['never', 'if_changed', 'always'])('overwrite: %s', (overwrite) => {
  const refuse = (): ByteSource => {
    throw new Error('nothing was to be read');
  };
  const path = (): string => join(folder, `finished-${overwrite}`);
  const again = (attempt: Attempt = {}): Promise<Copied> => publish(path(), overwrite, attempt);
  beforeEach(() => Promise.all([rm(path(), { force: true }), forgetPartials(path(), 'token')]));

  test('an attempt after one that was complete, and whose manifest never came, moves nothing', async () => {
    const first = await again();
    const before = await stat(path());
    expect(await again({ wrap: refuse })).toEqual(first);
    expect((await stat(path())).ino).toBe(before.ino);
  });

  test.each<[string, () => Promise<unknown>, Attempt]>([
    ['was touched since', () => utimes(path(), 1, 1), {}],
    ['follows from something else', async () => undefined, { content: 'another' }],
    ['is of another run', () => forgetPartials(path(), 'token'), {}],
    ['has a record that was cut', () => truncate(join(partialsFolder(path(), 'token'), 'published.json'), 40), {}],
  ])('it writes all of it where the output %s', async (_, harm, attempt) => {
    const first = await again();
    await harm();
    if (overwrite === 'never') return expect(again(attempt)).rejects.toMatchObject({ details: { reason: 'exists' } });
    expect((await again(attempt)).sha256).toBe(first.sha256);
    expect(await sha256(path())).toBe(first.sha256);
  });

  test('one that is cancelled between the two takes the output back, with the manifest of the one before', async () => {
    const files = destinationOf(createStorage(), path());
    await writeFile(`${path()}.manifest.json`, JSON.stringify({ version: 1, identity: 'of the one before' }));
    await again();
    await files.discard(path(), 'token');
    await withdraw(files, path(), 'token');
    await files.settle(path(), 'token');
    expect((await readdir(folder)).filter((name) => name.includes(`finished-${overwrite}`))).toEqual([]);
  });

  test.each<[string, () => Promise<unknown>]>([
    ['has its manifest', () => complete(path())],
    ['is of another run', () => forgetPartials(path(), 'token')],
    ['was replaced', () => writeFile(path(), 'of somebody else')],
  ])('what %s is not taken back', async (_, change) => {
    const files = destinationOf(createStorage(), path());
    await again();
    await change();
    await withdraw(files, path(), 'token');
    expect(await readdir(folder)).toContain(`finished-${overwrite}`);
    await rm(`${path()}.manifest.json`, { force: true });
  });
});

describe('shards', () => {
  const index = (): string => join(folder, 'set.safetensors.index.json');
  const shards = (): readonly string[] => ['set-1.safetensors', 'set-2.safetensors'].map((name) => join(folder, name));
  const files = () => destinationOf(createStorage(), index());
  const left = async (): Promise<readonly string[]> => (await readdir(folder)).filter((name) => name.startsWith('set')).toSorted();
  beforeEach(async () => {
    for (const shard of shards()) await forgetPartials(shard, 'token');
    for (const name of await left()) await rm(join(folder, name));
  });

  test.each<[string, number, boolean]>([
    ['without their index', 1, false],
    ['with an index and no manifest, all of them of this run', 2, true],
  ])('%s: nothing is left', async (_, count, hasIndex) => {
    for (const shard of shards().slice(0, count)) await publish(shard, 'always');
    if (hasIndex) await files().write(index(), '{}');
    await withdrawShards(files(), index(), shards(), 'token');
    expect(await left()).toEqual([]);
  });

  test('beside an older set of other files: that stays, with its manifest or without', async () => {
    for (const shard of shards()) await publish(shard, 'always');
    await files().write(index(), JSON.stringify({ weight_map: { t: 'set-1-of-1.safetensors' } }));
    await withdrawShards(files(), index(), shards(), 'token');
    expect(await left()).toEqual(['set.safetensors.index.json']);
    for (const shard of shards()) await publish(shard, 'always');
    await complete(index());
    await withdrawShards(files(), index(), shards(), 'token');
    expect(await left()).toEqual(['set.safetensors.index.json', 'set.safetensors.index.json.manifest.json']);
  });

  test.each([
    ['an index of other files', { weight_map: { a: 'set-1-of-3.safetensors', b: 'set-2-of-3.safetensors' } }, true],
    ['one that names a shard', { weight_map: { a: 'other.safetensors', b: './SET-2.safetensors' } }, false],
    ['one that names nothing', {}, false],
  ])('%s gives way before the first shard, or stays', async (_, text, stays) => {
    await files().write(index(), JSON.stringify(text));
    await complete(index());
    await giveWay(files(), index(), shards());
    expect((await left()).length).toBe(stays ? 2 : 0);
  });

  test.each<[string, number, boolean]>([
    ['an older set, of which this run wrote nothing yet', 0, false],
    ['a set that is whole', 2, true],
  ])('%s stays', async (_, count, hasManifest) => {
    for (const shard of shards()) await writeFile(shard, 'old');
    for (const shard of shards().slice(0, count)) await publish(shard, 'always');
    await files().write(index(), '{}');
    if (hasManifest) await complete(index());
    const before = await left();
    await withdrawShards(files(), index(), shards(), 'token');
    expect(await left()).toEqual(before);
  });
});
