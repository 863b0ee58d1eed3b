/** torch's distributed checkpoints: as torch's own conversion gives them; damaged and hostile ones refused. */
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CheckpointSourceError } from '../../../src/errors.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { openSource } from '../../../src/io/locations/open.ts';
import { siblingsOf } from '../../../src/io/locations/siblings.ts';
import { movedBehind, type Header } from '../../../src/model/header.ts';
import { pickle, type Pickled } from '../../support/pickle.ts';
import { PROJECT_ROOT, type ExpectedTensor } from '../../support/project.ts';
import { headerOf, publish, refusal } from '../../support/published.ts';
import { zip } from '../../support/zip.ts';

const FOLDER = join(PROJECT_ROOT, 'test', 'fixtures', 'readers');
const EXPECTED = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as Readonly<
  Record<
    string,
    {
      readonly state_dict_key: string | null;
      readonly epoch: number | null;
      readonly has_optimizer: boolean;
      readonly files: number;
      readonly tensors: Readonly<Record<string, ExpectedTensor>>;
    }
  >
>;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-distributed-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('as torch gives them', () => {
  test.each(Object.entries(EXPECTED))('%s', async (name, expected) => {
    const header = await headerOf(join(FOLDER, name));
    const { epoch, has_optimizer } = header.training;
    expect({ state_dict_key: header.stateDictKey, epoch, has_optimizer, files: header.files.length }).toEqual({
      state_dict_key: expected.state_dict_key,
      epoch: expected.epoch,
      has_optimizer: expected.has_optimizer,
      files: expected.files,
    });
    expect(header.weights.map((weight) => weight.name).toSorted()).toEqual(Object.keys(expected.tensors).toSorted());
    const dense = header.weights.filter(({ tensor }) => header.tensors[tensor]!.unsupported === undefined);
    const { tensors } = await publish({ ...header, weights: dense }, join(folder, 'out.safetensors'));
    const found = header.weights.map(({ name: each, tensor }) => {
      const { dtype, shape, unsupported } = header.tensors[tensor]!;
      return [each, unsupported === undefined ? { dtype, shape, sha256: tensors[each] } : { unsupported }];
    });
    expect(Object.fromEntries(found)).toEqual(expected.tensors);
  });

  test('behind the files of another header, blocks still find theirs', async () => {
    const header = await headerOf(join(FOLDER, 'sharded'));
    const other = await headerOf(join(FOLDER, 'modules.pt'));
    const storages = header.storages.map((storage) => movedBehind(storage, other.files.length));
    const { tensors } = await publish({ ...header, files: [...other.files, ...header.files], storages }, join(folder, 'out.safetensors'));
    const wanted = Object.entries(EXPECTED['sharded']!.tensors).map(([name, { sha256 }]) => [name, sha256]);
    expect(tensors).toEqual(Object.fromEntries(wanted));
  });

  test('the order of a module is that of state_dict()', async () => {
    const header = await headerOf(join(FOLDER, 'modules.pt'));
    expect(header.weights.map(({ name }) => name)).toEqual(Object.keys(EXPECTED['modules.pt']!.tensors));
    expect(header.findings.map(({ code }) => code)).toEqual(['torchscript_code']);
    expect(header.attributes?.map(({ is, tensors }) => [is, tensors])).toEqual([
      ['a plain attribute', 1],
      ['a plain attribute', 2],
    ]);
  });

  test("a Trainer's folder is one Lightning checkpoint", async () => {
    const { format, training, tree } = await headerOf(join(FOLDER, 'lightning'));
    expect(format).toBe('lightning');
    expect(training).toMatchObject({
      global_step: 24,
      has_scheduler: true,
      has_callbacks: true,
      has_loops: true,
      lightning_version: '2.6.6',
    });
    const root = tree!.nodes[tree!.root] as { entries: readonly (readonly [number, number])[] };
    const keys = root.entries.map(([key]) => tree!.nodes[key]);
    expect(keys).not.toContain('optimizer_0');
    expect(keys).toEqual(expect.arrayContaining(['state_dict', 'optimizer_states', 'hyper_parameters']));
  });

  test('a store that forbids what is not there costs the file beside, not the weights', async () => {
    const source = await openSource(join(FOLDER, 'training'));
    const open = siblingsOf(source.uri, openSource);
    const header = await readHeader(source, async (name) => {
      if (name === 'meta.pt') throw new CheckpointSourceError('403', source.uri, { retryable: false });
      return open(name);
    });
    expect(header.findings.map(({ code }) => code)).toEqual(['no_extra_file']);
    const unreachable = readHeader(source, async (name) => {
      if (name === 'meta.pt') throw new CheckpointSourceError('503', source.uri);
      return open(name);
    });
    await expect(unreachable).rejects.toMatchObject({ code: 'CheckpointSourceError' });
    await source.close();
  });

  test('what lies beside the weights is nested as it was saved', async () => {
    const { tree, tensors } = await headerOf(join(FOLDER, 'training'));
    const plain = (id: number): unknown => {
      const node = tree!.nodes[id];
      if (typeof node !== 'object' || node === null) return node;
      switch (node.kind) {
        case 'dict':
          return Object.fromEntries(node.entries.map(([key, value]) => [String(tree!.nodes[key]), plain(value)]));
        case 'list':
        case 'tuple':
          return node.items.map(plain);
        case 'float':
          return node.value;
        case 'tensor':
          return tensors[node.tensor]!.dtype;
        default:
          return node.kind;
      }
    };
    const { epoch, global_step, history, optimizer } = plain(tree!.root) as Record<string, unknown>;
    expect({ epoch, global_step, history }).toEqual({
      epoch: 3,
      global_step: 12345,
      history: [1, 'I64', { best: 'F32', when: [1, 2.5] }],
    });
    expect(optimizer).toMatchObject({
      state: { 0: { step: 'F32', exp_avg: 'F32' } },
      param_groups: [{ lr: 0.001, betas: [0.9, 0.999], params: [0, 1, 2, 3] }],
    });
  });
});

describe('damaged', () => {
  async function published(name: string, change: (at: string) => Promise<unknown>): Promise<unknown> {
    const at = join(folder, name);
    await cp(join(FOLDER, name), at, { recursive: true });
    await change(at);
    return publish(await headerOf(at), join(folder, 'out.safetensors'));
  }

  /** Turns one byte of a tensor's data, found by its bytes. */
  async function flip(file: string, wanted: Uint8Array): Promise<void> {
    const bytes = await readFile(file);
    const at = bytes.indexOf(wanted);
    expect(at).toBeGreaterThan(0);
    bytes[at + 1]! ^= 0xff;
    await writeFile(file, bytes);
  }

  test('a file that is not there', async () => {
    const refused = await refusal(published('sharded', (at) => rm(join(at, '__2_0.distcp'))));
    expect(refused).toMatchObject({ code: 'CheckpointNotFoundError', message: expect.stringContaining('__2_0.distcp') });
  });

  test('a file that is cut', async () => {
    const refused = await refusal(published('sharded', (at) => truncate(join(at, '__1_0.distcp'), 60_000)));
    expect(refused).toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining('truncated') });
  });

  test('files of two ranks exchanged', async () => {
    const refused = await refusal(
      published('sharded', async (at) => {
        await cp(join(at, '__1_0.distcp'), join(at, '__3_0.distcp'));
      }),
    );
    expect(refused.code).toBe('CheckpointLoadError');
  });

  test('a byte of a tensor', async () => {
    const part = Buffer.from(Float32Array.from({ length: 10 }, (_, index) => 10 + index).buffer);
    const refused = await refusal(published('training', (at) => flip(join(at, '__0_0.distcp'), part)));
    expect(refused).toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining('CRC-32') });
  });

  test('an index that is cut', async () => {
    const refused = await refusal(published('sharded', (at) => truncate(join(at, '.metadata'), 3000)));
    expect(refused.code).toBe('CheckpointLoadError');
  });
});

describe('hostile index', () => {
  const PREFIX = 'torch.distributed.checkpoint.metadata';
  const size = (...sizes: readonly number[]): Pickled => ({ call: 'torch.Size', args: [{ tuple: sizes }] });
  const record = (name: string, fields: Readonly<Record<string, Pickled>>): Pickled => ({
    object: name.includes('.') ? name : `${PREFIX}.${name}`,
    state: { dict: Object.entries(fields) },
  });
  const chunk = (start: readonly number[], shape: readonly number[]): Pickled =>
    record('ChunkStorageMetadata', { offsets: size(...start), sizes: size(...shape) });
  const tensor = (shape: readonly number[], chunks: readonly Pickled[], dtype = 'torch.float32'): Pickled =>
    record('TensorStorageMetadata', {
      properties: {
        object: `${PREFIX}.TensorProperties`,
        state: {
          tuple: [
            { global: dtype },
            { call: 'torch.serialization._get_layout', args: ['torch.strided'] },
            false,
            { call: `${PREFIX}._MEM_FORMAT_ENCODING`, args: [0] },
            false,
          ],
        },
      },
      size: size(...shape),
      chunks,
    });
  const place = (name: string, start: readonly number[], file = '__0_0.distcp', more: Readonly<Record<string, Pickled>> = {}) =>
    [
      record('MetadataIndex', { fqn: name, offset: size(...start), index: 0 }),
      record('torch.distributed.checkpoint.filesystem._StorageInfo', { relative_path: file, offset: 0, length: 8, ...more }),
    ] as const;

  async function read(
    items: readonly (readonly [string, Pickled])[],
    places: readonly (readonly [Pickled, Pickled])[],
    planner: Pickled = null,
    file = Buffer.alloc(64),
  ): Promise<Header> {
    const index = record('Metadata', { state_dict_metadata: { dict: items }, storage_data: { dict: places }, planner_data: planner });
    await writeFile(join(folder, '.metadata'), pickle(index));
    await writeFile(join(folder, '__0_0.distcp'), file);
    return headerOf(folder);
  }

  const one: readonly (readonly [string, Pickled])[] = [['a', tensor([2], [chunk([0], [2])])]];

  test('the plain one is read, and its archive is looked into before its bytes', async () => {
    const header = await read(one, [place('a', [0])]);
    expect(header.weights.map(({ name }) => name)).toEqual(['a']);
    expect((await refusal(publish(header, join(folder, 'out.safetensors')))).code).toBe('CheckpointLoadError');
  });

  test.each([
    ['a path', one, [place('a', [0], '../secret')], null, 'plain name'],
    ['no place', one, [place('b', [0])], null, 'no place'],
    ['a place at other offsets', one, [place('a', [1])], null, 'no place'],
    ['two places', one, [place('a', [0]), place('a', [0])], null, 'two places'],
    ['a transform', one, [place('a', [0], '__0_0.distcp', { transform_descriptors: ['zstd'] })], null, 'transform'],
    ['bytes past the end', one, [place('a', [0], '__0_0.distcp', { offset: 60 })], null, 'truncated'],
    ['a negative offset', one, [place('a', [0], '__0_0.distcp', { offset: -1 })], null, 'whole number'],
    ['chunks that leave a hole', [['a', tensor([3], [chunk([0], [2])])]], [place('a', [0])], null, 'do not fill'],
    ['an unknown dtype', [['a', tensor([2], [chunk([0], [2])], 'torch.Tensor')]], [place('a', [0])], null, 'dtype'],
    ['a huge tensor', [['a', tensor([2 ** 50], [chunk([0], [2 ** 50])])]], [place('a', [0])], null, 'too large'],
    [
      'a path through an entry',
      [...one, ['b', one[0]![1]]],
      [place('a', [0]), place('b', [0], '__0_0.distcp', { offset: 8 })],
      { b: ['a', 'b'] },
      'through an entry',
    ],
    [
      'one path twice',
      [...one, ['b', one[0]![1]]],
      [place('a', [0]), place('b', [0], '__0_0.distcp', { offset: 8 })],
      { b: ['a'] },
      'two entries',
    ],
    ['a position beyond all bounds', one, [place('a', [0])], { a: ['x', 2 ** 40] }, 'position'],
    ['a path that begins with a number', one, [place('a', [0])], { a: [0] }, 'path'],
  ] as const)('%s', async (_, items, places, planner, said) => {
    const paths: Pickled =
      planner === null ? null : { dict: Object.entries(planner).map(([name, steps]) => [name, { tuple: steps as readonly Pickled[] }]) };
    const refused = await refusal(read(items as typeof one, places, paths));
    expect(['CheckpointLoadError', 'CheckpointValidationError']).toContain(refused.code);
    expect(refused.message).toContain(said);
  });

  const value: Pickled = record('BytesStorageMetadata', {});
  const valueAt = (name: string, offset: number, length: number) =>
    [
      record('MetadataIndex', { fqn: name, offset: null, index: null }),
      record('torch.distributed.checkpoint.filesystem._StorageInfo', { relative_path: '__0_0.distcp', offset, length }),
    ] as const;

  test.each([
    [
      'two values of one place',
      [
        ['a', value],
        ['b', value],
      ],
      [valueAt('a', 0, 8), valueAt('b', 0, 8)],
      0,
      8,
    ],
    [
      'two values of overlapping places',
      [
        ['a', value],
        ['b', value],
      ],
      [valueAt('a', 20, 9), valueAt('b', 4, 17)],
      20,
      21,
    ],
    [
      'a value inside another',
      [
        ['a', value],
        ['b', value],
      ],
      [valueAt('a', 0, 60), valueAt('b', 1, 2)],
      1,
      60,
    ],
    ['a value and a chunk', [...one, ['b', value]], [place('a', [0]), valueAt('b', 7, 9)], 7, 8],
    ['two tensors', [...one, ['b', one[0]![1]]], [place('a', [0]), place('b', [0])], 0, 8],
  ] as const)('%s are refused: they overlap', async (_, items, places, begins, ends) => {
    expect(await refusal(read(items, places))).toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringContaining(`overlap in __0_0.distcp: one begins at ${begins}, where another ends at ${ends}`),
    });
  });

  test('values that are too many bytes together are refused before one of them is read', async () => {
    const length = 64 * 2 ** 20;
    const names = Array.from({ length: 17 }, (__, index) => `v${index}`);
    const refused = await refusal(
      read(
        names.map((name) => [name, value]),
        names.map((name, index) => valueAt(name, index * length, length)),
      ),
    );
    expect(refused).toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringContaining(`${17 * length} bytes, at most ${2 ** 30}`),
    });
  });

  describe('values of a few bytes each', () => {
    const deflated = (content: Buffer): Buffer =>
      zip([{ name: 'a/data.pkl', deflated: true, data: Buffer.concat([Buffer.from('\x80\x02', 'latin1'), content, Buffer.from('.')]) }]);
    const all = (each: Buffer, count: number): Promise<Header> => {
      const names = Array.from({ length: count }, (__, index) => `v${index}`);
      const end = count * each.length;
      return read(
        [...one, ...names.map((name) => [name, value] as const)],
        [place('a', [0], '__0_0.distcp', { offset: end }), ...names.map((name, index) => valueAt(name, index * each.length, each.length))],
        { dict: [['a', { tuple: ['state_dict', 'a'] }]] },
        Buffer.concat([...names.map(() => each), Buffer.alloc(8)]),
      );
    };

    test('that take much memory together are refused', async () => {
      const data = Buffer.alloc(15 * 2 ** 20, 'a');
      const length = Buffer.alloc(4);
      length.writeUInt32LE(data.length);
      const long = deflated(Buffer.concat([Buffer.from('X'), length, data]));
      expect((await all(long, 8)).tree!.nodes.filter((node) => typeof node === 'string' && node.length === data.length)).toHaveLength(8);
      const refused = await refusal(all(long, 11));
      expect(refused).toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining('of memory together') });
    });

    test('that inflate to very many together are refused, whatever they leave behind', async () => {
      const emptyFrame = Buffer.from('\x95\0\0\0\0\0\0\0\0', 'latin1');
      const frames = Buffer.alloc(1_700_000 * emptyFrame.length, emptyFrame);
      const refused = await refusal(all(deflated(Buffer.concat([frames, Buffer.from('N')])), 14));
      expect(refused).toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining('inflate to more than') });
    });
  });

  test('a name that could run code', async () => {
    const refused = await refusal(read([['a', { call: 'os.system', args: ['echo'] }]], []));
    expect(refused).toMatchObject({ code: 'CheckpointValidationError', message: expect.stringContaining('os.system') });
  });

  test('another pickle of that name', async () => {
    await writeFile(join(folder, '.metadata'), pickle({ dict: [] }));
    expect((await refusal(headerOf(folder))).code).toBe('CheckpointLoadError');
  });
});

describe('harmful pickles in its files are named by who reads it, whatever form they have', () => {
  const HARM = [
    'cos\nsystem\n(S"true"\ntR.',
    '\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.',
    '\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.',
  ];
  const forms = HARM.flatMap((text, protocol): readonly (readonly [string, Uint8Array])[] => [
    [`bare, ${protocol}`, Buffer.from(text, 'latin1')],
    [`in an archive, ${protocol}`, zip([{ name: 'archive/data.pkl', data: Buffer.from(text, 'latin1') }])],
  ]);
  test.each(['meta.pt', '.metadata'].flatMap((name) => forms.map(([form, bytes]) => [name, form, bytes] as const)))(
    '%s: %s',
    async (name, _, bytes) => {
      await cp(join(FOLDER, 'lightning'), join(folder, 'harmful'), { recursive: true });
      await writeFile(join(folder, 'harmful', name), bytes);
      const source = await openSource(join(folder, 'harmful', '.metadata'));
      const read = readHeader(source, siblingsOf(source.uri, openSource)).finally(() => source.close());
      const { code, message } = await refusal(read);
      expect(code).toBe('CheckpointValidationError');
      expect(message).toMatch(/is unsafe: its pickle names (os|posix)\.system/);
    },
  );
});
