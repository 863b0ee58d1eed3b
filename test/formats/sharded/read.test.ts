/** Sharded sets where the fixtures do not reach: names in two shards, links, folders, what is opened. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import { readSharded } from '../../../src/formats/sharded/read.ts';
import { openSource } from '../../../src/io/locations/open.ts';
import { siblingsOf } from '../../../src/io/locations/siblings.ts';
import type { Header } from '../../../src/model/header.ts';
import { memorySource } from '../../support/memory-source.ts';
import type { Pickled } from '../../support/pickle.ts';
import { fixture } from '../../support/project.ts';
import { dict, tensor, torchFile } from '../../support/torch-file.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-sharded-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function safetensors(...names: readonly string[]): Buffer {
  const entries = names.map((name, index) => [name, { dtype: 'U8', shape: [1], data_offsets: [index, index + 1] }]);
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(names.length)]);
}

async function set(weightMap: string, shards: Readonly<Record<string, Uint8Array>>, at = folder): Promise<string> {
  for (const [name, bytes] of Object.entries(shards)) await writeFile(join(at, name), bytes);
  const index = join(at, 'model.safetensors.index.json');
  await writeFile(index, `{"metadata": {"note": ["}", {"deep": "\\""}], "n": 1.5e3}, "weight_map": ${weightMap}}`);
  return index;
}

async function read(uri: string): Promise<Header> {
  const source = await openSource(uri);
  return readHeader(source, siblingsOf(source.uri, openSource)).finally(() => source.close());
}

function names(header: Header): readonly string[] {
  return header.weights.map(({ name }) => name);
}

describe('sharded sets', () => {
  test('come in the order of the index, each tensor over its own file', async () => {
    const header = await read(await set('{"c": "2", "a": "1", "b": "2"}', { 1: safetensors('a'), 2: safetensors('b', 'c') }));
    expect(names(header)).toEqual(['c', 'a', 'b']);
    const files = header.weights.map(({ tensor }) => header.files[header.storages[header.tensors[tensor]!.storage]!.file]!.uri.slice(-1));
    expect(files).toEqual(['2', '1', '2']);
  });

  test('an index that begins with a byte order mark is none, as for the reference', async () => {
    const index = join(folder, 'model.safetensors.index.json');
    await writeFile(join(folder, 'x'), safetensors('a'));
    await writeFile(index, '\ufeff{"weight_map": {"a": "x"}}');
    await expect(read(index)).rejects.toMatchObject({ code: 'CheckpointLoadError' });
  });

  test('what is no tensor at the top level of a shard is left out and named; attributes of its tensors, too', async () => {
    const tagged: Pickled = {
      call: 'torch._utils._rebuild_parameter_with_state',
      args: [tensor(0), false, { call: 'collections.OrderedDict', args: [] }, dict({ tag: 1 })],
    };
    const shards = {
      1: torchFile(dict({ a: tagged, _v: 3 }), { 0: new Uint8Array(8) }),
      2: torchFile(dict({ c: tensor(0) }), { 0: new Uint8Array(8) }),
    };
    const header = await read(await set('{"a": "1", "c": "2"}', shards));
    expect(names(header)).toEqual(['a', 'c']);
    expect(header.nonTensors).toEqual([{ name: '_v', is: 'an int' }]);
    expect(header.attributes).toEqual([{ name: 'a.__dict__', is: 'attributes of a tensor: tag' }]);
  });

  test('a shard that keeps its tensors under a key is refused with what to do about a set', async () => {
    const index = await set('{"a": "1"}', { 1: torchFile(dict({ state_dict: dict({ a: tensor(0) }) }), { 0: new Uint8Array(8) }) });
    await expect(read(index)).rejects.toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringMatching(
        /its shard 1 has no tensors at its top level, but under state_dict\. Save each shard as a flat dict of tensors\.$/,
      ),
    });
  });

  test('tensors that the index does not name are read and reported', async () => {
    const header = await read(await set('{"a": "1"}', { 1: safetensors('a', 'extra') }));
    expect(names(header)).toEqual(['a', 'extra']);
    expect(header.findings).toEqual([expect.objectContaining({ code: 'unlisted_tensors', message: expect.stringContaining('"extra"') })]);
  });

  test.each([
    ['a tensor in two shards', '{"a": "1", "b": "2"}', 'CheckpointValidationError', '"a" is in two shards'],
    ['a tensor listed twice', '{"a": "1", "b": "2", "\\u0061": "2"}', 'CheckpointLoadError', 'stands twice'],
    ['an empty map', '{}', 'CheckpointLoadError', 'weight_map'],
    ['a shard that is not there', '{"a": "3"}', 'CheckpointNotFoundError', 'shard 3'],
    ['a shard that is a folder', '{"a": "folder"}', 'CheckpointLoadError', 'not a regular file'],
    ['a name with a line break', '{"a": "1\\n"}', 'CheckpointValidationError', 'plain name'],
    ['a name with a backslash', '{"a": "..\\\\1"}', 'CheckpointValidationError', 'plain name'],
    ['two dots', '{"a": ".."}', 'CheckpointValidationError', 'plain name'],
    ['another index', '{"a": "other.index.json"}', 'CheckpointValidationError', 'plain name'],
  ])('%s is refused', async (_, weightMap, code, message) => {
    await mkdir(join(folder, 'folder'));
    const index = await set(weightMap, { 1: safetensors('a'), 2: safetensors('b', 'a') });
    await expect(read(index)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  test.each([
    ['more values than are read', `${'[],'.repeat(500_000)}1`, 'at most 1000000 are read'],
    ['a list that nests too deep', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'at most 200 are read'],
  ])('an index with %s is refused before it is parsed', async (_, metadata, message) => {
    const index = join(folder, 'model.safetensors.index.json');
    await writeFile(index, `{"metadata": [${metadata}], "weight_map": {"a": "1"}}`);
    await writeFile(join(folder, '1'), safetensors('a'));
    await expect(read(index)).rejects.toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining(message) });
  });

  test('an index of more tensors than any set has is refused', async () => {
    const index = await set(`{${Array.from({ length: 600_001 }, (_, each) => `"${each}":"1"`).join()}}`, { 1: safetensors('a') });
    const refused = { code: 'CheckpointLoadError', message: expect.stringContaining('more than 600000 tensors') };
    await expect(read(index)).rejects.toMatchObject(refused);
  });

  test('a shard that is an index itself is refused', async () => {
    const index = await set('{"a": "1"}', { 1: Buffer.from('{"weight_map": {"a": "1"}}') });
    await expect(read(index)).rejects.toMatchObject({ code: 'CheckpointLoadError' });
  });

  test('a link out of the folder is refused, one inside is followed', async () => {
    await mkdir(join(folder, 'set'));
    await writeFile(join(folder, 'outside'), safetensors('a'));
    await symlink(join(folder, 'outside'), join(folder, 'set', '1'));
    const index = await set('{"a": "1"}', {}, join(folder, 'set'));
    await expect(read(index)).rejects.toMatchObject({
      code: 'CheckpointValidationError',
      message: expect.stringContaining('symbolic link'),
    });
    await rm(join(folder, 'set', '1'));
    await writeFile(join(folder, 'set', 'inside'), safetensors('a'));
    await symlink('inside', join(folder, 'set', '1'));
    expect(names(await read(index))).toEqual(['a']);
  });

  test('a snapshot of the Hugging Face cache is read through its links', async () => {
    const snapshot = join(folder, 'snapshots', 'revision');
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(folder, 'blobs'));
    await writeFile(join(folder, 'blobs', 'digest'), safetensors('a'));
    await symlink('../../blobs/digest', join(snapshot, '1'));
    expect(names(await read(await set('{"a": "1"}', {}, snapshot)))).toEqual(['a']);
  });

  test('a folder stands for its only index; none or several are an error that says so', async () => {
    expect(names(await read(fixture('good/sharded_pytorch')))).toHaveLength(6);
    await expect(read(folder)).rejects.toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining('index.json') });
    await writeFile(join(folder, 'a.index.json'), '{}');
    await writeFile(join(folder, '.metadata'), '');
    await expect(read(folder)).rejects.toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining('a.index.json') });
  });
});

test.each([
  ['tensors', { names: 250_000 }],
  ['metadata', { metadata: 40_000_000 }],
])(
  'shards bring no more %s together than one file may have: refused with the shard that does',
  async (what, { names: count = 1, metadata = 0 }: { names?: number; metadata?: number }) => {
    const weightMap = Object.fromEntries(Array.from({ length: 5000 }, (_, shard) => [`t${shard}`, `s${shard}`]));
    let read = 0;
    const header = async (): Promise<Header> => {
      const shard = read++;
      const tensors = Array.from({ length: count }, () => ({ dtype: 'U8' as const, shape: [0], storage: 0, offset: 0 }));
      return {
        ...(await readHeader(memorySource(safetensors('a')))),
        tensors,
        weights: tensors.map((_, tensor) => ({ name: tensor === 0 ? `t${shard}` : `s${shard}.${tensor}`, tensor })),
        metadata: { [`k${shard}`]: ' '.repeat(metadata) },
      };
    };
    const index = memorySource(Buffer.from(JSON.stringify({ weight_map: weightMap })));
    await expect(readSharded(index, async () => memorySource(Buffer.alloc(8)), header)).rejects.toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringMatching(new RegExp(`${what}.* together, with s2\\.`)),
    });
    expect(read).toBeLessThan(10);
  },
);
