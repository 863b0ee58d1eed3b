/** Which file of a folder stands for it. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { localUri } from '../../../src/io/local/local-file.ts';
import { checkpointFile } from '../../../src/io/locations/siblings.ts';
import type { S3Page, S3Port } from '../../../src/io/s3/port.ts';
import { createStorage, type Storage } from '../../../src/io/storage/storage.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-siblings-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const INDEX = 'model.safetensors.index.json';

/** A prefix without an end, of which every page has the same names; tells how many pages were asked for. */
function endless(...names: readonly string[]): { readonly storage: Storage; readonly pages: () => number } {
  let pages = 0;
  const list = async (_: string, prefix: string): Promise<S3Page> => {
    if (++pages > 1000) throw new Error('nobody stops');
    return { objects: names.map((name) => ({ key: `${prefix}${pages}-${name}`, size: 1, modified: 0 })), next: String(pages) };
  };
  // Of a store, this uses its lists only.
  const port = { list } as unknown as S3Port;
  return { storage: { ...createStorage(), s3: async () => port }, pages: () => pages };
}

test('of a folder its only index, or the metadata of a distributed checkpoint', async () => {
  await writeFile(join(folder, 'model-00001-of-00002.safetensors'), '');
  await expect(checkpointFile(folder, createStorage())).rejects.toThrow('without an index of shards');
  await writeFile(join(folder, INDEX), '');
  expect(await checkpointFile(folder, createStorage())).toEqual({ uri: localUri(join(folder, INDEX)) });
  await writeFile(join(folder, '.metadata'), '');
  await expect(checkpointFile(folder, createStorage())).rejects.toThrow(`several checkpoints: .metadata, ${INDEX}. Name the one to read.`);
  await mkdir(join(folder, 'empty'));
  await expect(checkpointFile(join(folder, 'empty'), createStorage())).rejects.toThrow('without an index of shards');
});

test('a prefix is listed no further once it is known to hold several', async () => {
  const { storage, pages } = endless('a.bin', INDEX);
  await expect(checkpointFile('s3://bucket/set/', storage)).rejects.toThrow(`several checkpoints: 1-${INDEX}, `);
  expect(pages()).toBeLessThanOrEqual(100);
});

test('of files that ranks wrote the first, with the names of all', async () => {
  const names = ['shard-00002-model-00001-of-00001.safetensors', 'shard-00001-model-00001-of-00001.safetensors'];
  const set = names.toSorted();
  for (const name of [...names, 'other.pt']) await writeFile(join(folder, name), '');
  expect(await checkpointFile(folder, createStorage())).toEqual({ uri: localUri(join(folder, set[0]!)), set });
  const list = async (_: string, prefix: string): Promise<S3Page> => ({
    objects: names.map((name) => ({ key: prefix + name, size: 1, modified: 0 })),
    next: null,
  });
  const storage = { ...createStorage(), s3: async () => ({ list }) as unknown as S3Port };
  expect(await checkpointFile('s3://bucket/run/', storage)).toEqual({ uri: `s3://bucket/run/${set[0]}`, set });
});

async function chosen(...names: readonly string[]): Promise<string> {
  for (const name of names) await writeFile(join(folder, name), '');
  return basename((await checkpointFile(folder, createStorage())).uri);
}

test.each([
  ['model.safetensors', ['config.json', 'model.safetensors', 'optimizer.pt', 'training_args.bin']],
  ['pytorch_model.bin', ['pytorch_model.bin', 'scheduler.pt']],
  ['model.safetensors', ['model.safetensors', 'pytorch_model.bin']],
  ['adapter_model.safetensors', ['adapter_model.bin', 'adapter_model.safetensors', 'README.md']],
  ['diffusion_pytorch_model.safetensors', ['config.json', 'diffusion_pytorch_model.safetensors']],
  ['model.safetensors.index.json', ['model.safetensors.index.json', 'model.safetensors', 'model-00001-of-00002.safetensors']],
  ['.metadata', ['.metadata', '__0_0.distcp']],
  ['model.safetensors.index.fp16.json', ['config.json', 'model-00001-of-00002.fp16.safetensors', 'model.safetensors.index.fp16.json']],
  ['model.safetensors.index.json', ['model.safetensors.index.fp16.json', 'model.safetensors.index.json']],
  ['model.safetensors', ['model.safetensors', 'model.safetensors.index.fp16.json', 'words.index.en.json']],
])('%s of %j', async (expected, names) => {
  expect(await chosen(...names)).toBe(expected);
});

test.each([
  [['adapter_model.bin', 'model.safetensors'], 'CheckpointConfigError', 'several checkpoints: adapter_model.bin, model.safetensors'],
  [['.metadata', 'a.safetensors.index.json'], 'CheckpointConfigError', 'several checkpoints'],
  [['b.pt', 'a.ckpt', 'notes.txt'], 'CheckpointLoadError', 'name a checkpoint file in it such as a.ckpt, b.pt.'],
  [['notes.txt'], 'CheckpointLoadError', 'name a checkpoint file in it.'],
])('%j: %s', async (names, code, message) => {
  await expect(chosen(...names)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
});
