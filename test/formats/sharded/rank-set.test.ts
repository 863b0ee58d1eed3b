/** Files of slices, as torch's HuggingFaceStorageWriter(save_distributed=True) writes them: the folder is read, a slice never goes for its tensor. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { localUri } from '../../../src/io/local/local-file.ts';
import { createStorage } from '../../../src/io/storage/storage.ts';
import { checkpointFile } from '../../../src/io/locations/siblings.ts';
import { scanFile } from '../../../src/formats/scan/scan.ts';
import { openSource } from '../../../src/io/locations/open.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { siblingsOf } from '../../../src/io/locations/siblings.ts';
import type { Header } from '../../../src/model/header.ts';
import { headerOf, publish } from '../../support/published.ts';
import { PROJECT_ROOT } from '../../support/project.ts';
import { memorySource } from '../../support/memory-source.ts';
import { file, shard, type Slice } from '../../support/rank-files.ts';
import { dict, torchFile } from '../../support/torch-file.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-ranks-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const RANKS = join(PROJECT_ROOT, 'test', 'fixtures', 'readers', 'ranks');

async function put(files: Readonly<Record<string, Uint8Array>>): Promise<void> {
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
}

const FIRST = file({ a: { shape: [2, 3] }, whole: { shape: [2] } });
const SECOND = file({ a: { start: [2, 0], shape: [1, 3] } });

describe('a folder of them', () => {
  test('is one checkpoint: what the writer says of its own files is not of the model', async () => {
    await put({ [shard(1)]: FIRST, [shard(2)]: SECOND, 'notes.pt': Buffer.from('other') });
    const header = await headerOf(folder);
    expect(header).toMatchObject({ format: 'safetensors', container: 'sharded', metadata: { format: 'pt' } });
    expect(header.weights.map(({ name, tensor }) => [name, header.tensors[tensor]!.shape])).toEqual([
      ['a', [3, 3]],
      ['whole', [2]],
    ]);
    expect(header.findings).toEqual([{ code: 'ranks_unknown', message: expect.stringContaining(`2 files, ${shard(1)} to ${shard(2)}`) }]);
  });

  test.each([
    ['one rank', [1, 3], 'where shard-00002-… is not there'],
    ['two ranks', [2, 4], 'where shard-00001-…, shard-00003-… are not there'],
    ['more than are named', [1, 99_999], 'shard-00005-…, shard-00006-… and others are not there'],
  ])('names ranks whose files are not there, below the highest: %s', async (_, [first, last], said) => {
    await put({ [shard(first!)]: FIRST, [shard(last!)]: SECOND });
    expect((await headerOf(folder)).findings).toEqual([{ code: 'ranks_unknown', message: expect.stringContaining(said) }]);
  });

  test('gives way to an index, or to a model by its usual name', async () => {
    await put({ [shard(1)]: FIRST, 'model.safetensors': FIRST });
    expect(await checkpointFile(folder, createStorage())).toEqual({ uri: localUri(join(folder, 'model.safetensors')) });
  });

  test('of slices without elements, and of one rank', async () => {
    await put({
      [shard(1)]: file({ a: { shape: [1, 3] }, none: { shape: [0, 3] } }),
      [shard(2)]: file({ a: { start: [1, 0], shape: [0, 3] } }),
    });
    const header = await headerOf(folder);
    expect(header.tensors.map(({ shape }) => shape)).toEqual([
      [1, 3],
      [0, 3],
    ]);
    await publish(header, join(folder, 'out', 'model.safetensors'));
    await rm(join(folder, shard(2)));
    expect((await headerOf(folder)).weights.map(({ name }) => name)).toEqual(['a', 'none']);
  });

  test.each<[string, Readonly<Record<string, Uint8Array>>, string, string]>([
    ['a rank that is missing', { [shard(2)]: SECOND }, 'CheckpointLoadError', 'they hold 3 of 9 elements'],
    [
      'slices twice',
      { [shard(1)]: FIRST, [shard(2)]: SECOND, [shard(3)]: file({ a: { start: [1, 0], shape: [2, 3] } }) },
      'CheckpointLoadError',
      'they hold 15 of 9 elements',
    ],
    [
      'two dtypes',
      { [shard(1)]: FIRST, [shard(2)]: file({ a: { start: [2, 0], shape: [1, 3], dtype: 'F16' } }) },
      'CheckpointLoadError',
      'is F16 of 2 axes, another one U8 of 2',
    ],
    ['a part that is missing', { [shard(1, 1, 3)]: FIRST, [shard(1, 3, 3)]: SECOND }, 'CheckpointLoadError', 'part 2 of 3'],
    ['two checkpoints', { [shard(1, 1, 1)]: FIRST, [shard(1, 1, 2)]: FIRST }, 'CheckpointConfigError', 'in 1 and in 2 parts'],
    [
      'a tensor larger than any',
      { [shard(1)]: file({ a: { shape: [0, 1] } }), [shard(2)]: file({ a: { start: [0, 2 ** 52], shape: [0, 1] } }) },
      'CheckpointLoadError',
      'too large',
    ],
    [
      'another writer',
      { [shard(1)]: FIRST, [shard(2)]: plain({ a: { shape: [1] } }) },
      'CheckpointLoadError',
      'does not say where its slices begin',
    ],
    [
      'a first file of torch',
      { [shard(1)]: torchFile(dict({}), {}), [shard(2)]: SECOND },
      'CheckpointLoadError',
      'not a valid safetensors',
    ],
    [
      'a first file that is a pickle',
      { [shard(1)]: Buffer.from('\x80\x02}.', 'latin1'), [shard(2)]: SECOND },
      'CheckpointLoadError',
      'not a valid safetensors',
    ],
    ['a first file without a byte', { [shard(1)]: Buffer.alloc(0), [shard(2)]: SECOND }, 'CheckpointLoadError', 'not a valid safetensors'],
  ])('%s is refused', async (_, files, code, message) => {
    await put(files);
    await expect(headerOf(folder)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });
});

/** As any other writer has it. */
function plain(slices: Readonly<Record<string, Slice>>): Buffer {
  const bytes = file(slices);
  return Buffer.from(bytes.toString('latin1').replace('DCP_SHARDING_INFO', 'DCP_SHARDING_NONE'), 'latin1');
}

describe('behind an index', () => {
  const index = (...names: readonly string[]): Buffer =>
    Buffer.from(JSON.stringify({ weight_map: Object.fromEntries(names.map((name, at) => [at === 0 ? 'a' : 'whole', name])) }));

  test.each([
    ['a first rank beside another', shard(1), `${shard(2)} lies beside it`],
    ['a later rank', shard(2), '"a" begins at [2, 0] of its tensor'],
  ])('%s is refused, and what to do with the index said', async (_, name, why) => {
    await put({ [shard(1)]: FIRST, [shard(2)]: SECOND, 'model.safetensors.index.json': index(name) });
    const message = expect.stringContaining(why);
    await expect(headerOf(folder)).rejects.toMatchObject({ code: 'CheckpointValidationError', message });
    await expect(headerOf(folder)).rejects.toMatchObject({
      message: expect.stringMatching(
        /The index model\.safetensors\.index\.json cannot name them: take it out of the folder\. Name the folder .*\/\./,
      ),
    });
  });

  test('files that one process wrote for all are read', async () => {
    const [one, two] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
    await put({
      [one]: file({ a: { shape: [2] } }),
      [two]: file({ whole: { shape: [2] } }),
      'model.safetensors.index.json': index(one, two),
    });
    expect(await headerOf(folder)).toMatchObject({ weights: [{ name: 'a' }, { name: 'whole' }], findings: [] });
  });
});

describe('one file of them', () => {
  test.each([shard(1, 1, 2), shard(2, 1, 2), shard(4, 2, 2)])('%s is refused, and its folder named', async (name) => {
    await expect(headerOf(join(RANKS, name))).rejects.toMatchObject({
      code: 'CheckpointValidationError',
      message: expect.stringContaining(`Name the folder that holds them, ${localUri(RANKS)}/.`),
    });
  });

  test('is refused by its offsets, whatever its name', async () => {
    await put({ 'model.safetensors': SECOND });
    const message = expect.stringContaining('"a" begins at [2, 0] of its tensor');
    await expect(headerOf(folder)).rejects.toMatchObject({ code: 'CheckpointValidationError', message });
  });

  test.each([
    ['a later rank', { [shard(3)]: FIRST }, shard(3)],
    ['a first rank beside another', { [shard(1)]: FIRST, [shard(4)]: SECOND }, shard(1)],
    ['a first rank of FileSystemWriter', { '__0_0.distcp': FIRST, '__1_0.distcp': SECOND }, '__0_0.distcp'],
  ])('is refused as %s', async (_, files, name) => {
    await put(files);
    await expect(headerOf(join(folder, name))).rejects.toMatchObject({ code: 'CheckpointValidationError' });
  });

  test.each([
    ['the only one', shard(1), ['ranks_unknown']],
    ['renamed', 'mine.safetensors', ['ranks_unknown']],
    ['written by one process for all', 'model-00001-of-00002.safetensors', []],
  ])('is read where it holds whole tensors: %s', async (_, name, codes) => {
    await put({ [name]: FIRST });
    const { findings, metadata } = await headerOf(join(folder, name));
    expect({ codes: findings.map(({ code }) => code), metadata }).toEqual({ codes, metadata: { format: 'pt' } });
  });

  test.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['a tensor without offsets', '{}'],
    ['offsets of another shape', '{"a": {"saved_offsets": [0]}}'],
    ['more offsets than axes', `{"a": {"saved_offsets": [${'0,'.repeat(1000)}0]}}`],
    ['a name of no tensor', '{"a": {"saved_offsets": [0, 0]}, "b": 0}'],
    ['a name twice', '{"a": {"saved_offsets": [2, 0]}, "a": {"saved_offsets": [0, 0]}}'],
    ['a field without end', `{"a": {"more": [${'[],'.repeat(2000)}[]], "saved_offsets": [0, 0]}}`],
    ['fields without end', `{"a": {"saved_offsets": [0, 0]${Array.from({ length: 8 }, (_none, at) => `, "${at}": 0`).join('')}}}`],
    ['text behind it', '{"a": {"saved_offsets": [0, 0]}} {'],
    ['an offset that is not a count', '{"a": {"saved_offsets": [0, -1]}}'],
  ])('whose word of its slices is unsound is refused: %s', async (_, info) => {
    await put({ 'x.safetensors': file({ a: { shape: [2, 3] } }, info) });
    await expect(headerOf(join(folder, 'x.safetensors'))).rejects.toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringContaining('DCP_SHARDING_INFO'),
    });
  });

  test('is read over HTTP without a request for others, which a server may answer for any name', async () => {
    const asked: string[] = [];
    const read = (name: string): Promise<Header> =>
      readHeader(memorySource(FIRST, `https://models.example/${name}`), async (sibling) => {
        asked.push(sibling);
        return memorySource(FIRST, `https://models.example/${sibling}`);
      });
    expect(await read(shard(1))).toMatchObject({ findings: [{ code: 'ranks_unknown' }] });
    await expect(read(shard(2))).rejects.toMatchObject({ message: expect.stringContaining('Put them into one folder') });
    expect(asked).toEqual([]);
  });

  test('is safe to load', async () => {
    const source = await openSource(join(RANKS, shard(2, 1, 2)));
    const [scanned] = await scanFile(source, { openSibling: siblingsOf(source.uri, openSource), check: readHeader });
    await source.close();
    expect(scanned).toMatchObject({ verdict: 'safe', findings: [] });
  });
});
