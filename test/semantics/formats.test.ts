/** Sections 6 and 7 on files: what a checkpoint is by its content, where its state dict lies, and how what is none is refused. */
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadCatalog, type Catalog } from '../../activities/catalog.ts';
import type { StageOutcome } from '../../activities/stage.ts';
import type { JsonObject } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { localPath } from '../../src/io/local/local-file.ts';
import type { Header } from '../../src/model/header.ts';
import { memorySource } from '../support/memory-source.ts';
import type { Pickled } from '../support/pickle.ts';
import { EXPECTED, fixture } from '../support/project.ts';
import { refused, runSource } from '../support/source-stage.ts';
import { servicesOf } from '../support/temporal.ts';
import { dict, tensor, torchFile } from '../support/torch-file.ts';

const ZEROS = { 0: new Uint8Array(8), 1: new Uint8Array(8) };
const WEIGHTS = dict({ w: tensor(0) });

let folder: string;
let catalog: Catalog;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-semantics-'));
  catalog = await loadCatalog();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const read = (root: Pickled, name = 'file.pt'): Promise<Header> => readHeader(memorySource(torchFile(root, ZEROS), `memory:///${name}`));

const source = (options: JsonObject, type = 'source.local'): Promise<StageOutcome> => runSource(catalog, servicesOf(folder), type, options);

describe('7. Formats: detection on content, first rule that fits', () => {
  test.each<[string, Pickled, string]>([
    ['2. key pytorch-lightning_version', dict({ 'pytorch-lightning_version': '2.0', state_dict: WEIGHTS }), 'lightning'],
    ['2. before any other mark', dict({ 'pytorch-lightning_version': '2.0', model_state_dict: WEIGHTS }), 'lightning'],
    ['3. callbacks and loops', dict({ callbacks: dict({}), loops: dict({}), state_dict: WEIGHTS }), 'lightning'],
    ['3. optimizer_states and lr_schedulers', dict({ optimizer_states: [], lr_schedulers: [], state_dict: WEIGHTS }), 'lightning'],
    ['3. one of them is not enough', dict({ callbacks: dict({}), state_dict: WEIGHTS }), 'pytorch'],
    ['3. hyper_parameters is not a mark', dict({ callbacks: dict({}), hyper_parameters: dict({}), state_dict: WEIGHTS }), 'pytorch'],
    ['4. model_state_dict', dict({ model_state_dict: WEIGHTS }), 'pytorch'],
    ['4. optimizer_state_dict', dict({ optimizer_state_dict: dict({}), model: WEIGHTS }), 'pytorch'],
    ['4. scheduler_state_dict', dict({ scheduler_state_dict: dict({}), state_dict: WEIGHTS }), 'pytorch'],
    ['5. non-empty and every value a tensor', dict({ a: tensor(0), b: tensor(1) }), 'state_dict'],
    ['6. {state_dict, epoch}', dict({ state_dict: WEIGHTS, epoch: 3 }), 'pytorch'],
    ['6. {model}', dict({ model: WEIGHTS }), 'pytorch'],
  ])('%s', async (_rule, root, format) => {
    expect((await read(root)).format).toBe(format);
  });

  test.each(['last.ckpt', 'weights.safetensors', 'no-extension', 'model.tar.gz'])(
    'container by magic bytes, extension only a hint: %s',
    async (name) => {
      expect(await read(dict({ a: tensor(0) }), name)).toMatchObject({ format: 'state_dict', container: 'zip' });
    },
  );
  test.each(['good/plain.safetensors', 'good/state_dict_legacy.pt', 'good/state_dict.pt'])('%s is read by what it is', async (name) => {
    const { container } = EXPECTED.good[name]!;
    expect((await source({ path: fixture(name) })).context).toMatchObject({ container });
  });
});

describe('7. Formats: the state dict, first key present decides', () => {
  test.each<[string, Pickled, string | null]>([
    ['state_dict before model_state_dict', dict({ model_state_dict: dict({ b: tensor(1) }), state_dict: WEIGHTS }), 'state_dict'],
    ['model_state_dict before model', dict({ model: dict({ b: tensor(1) }), model_state_dict: WEIGHTS }), 'model_state_dict'],
    ['model', dict({ model: WEIGHTS, epoch: 1 }), 'model'],
    ['else the whole mapping if non-empty and all tensors', dict({ w: tensor(0) }), null],
    ['a raw dict may also hold extra-state entries', dict({ w: tensor(0), 'norm._extra_state': dict({ scale: 1 }) }), null],
  ])('%s', async (_row, root, key) => {
    const header = await read(root);
    expect([header.stateDictKey, header.weights.map(({ name }) => name)]).toEqual([key, ['w']]);
  });

  test.each<[string, Pickled, readonly string[]]>([
    [
      'that key holding no mapping: key and type (no falling through)',
      dict({ state_dict: [1], model_state_dict: WEIGHTS }),
      ['state_dict', 'a list'],
    ],
    ['null under the key', dict({ state_dict: null }), ['state_dict', 'None']],
    ['content not a mapping', [1, 2], ['a list']],
    ['content null', null, ['None']],
    ['a pickled whole module is named as such', { object: 'my.Net', state: dict({ _modules: dict({}) }) }, ['my.Net', 'whole module']],
    ['nested wrappers are not searched', dict({ wrapper: dict({ state_dict: WEIGHTS }) }), ['wrapper']],
    ['nothing found: the accepted keys', dict({ foo: 1 }), ['state_dict, model_state_dict, model', 'foo', 'no model checkpoint']],
    ['hint: a key containing "model"', dict({ myModel: 1, x_dict: dict({}) }), ['non-standard']],
    ['hint: else one ending in _dict', dict({ net_dict: dict({}) }), ['nested differently']],
    ['no keys: no hint', dict({}), ['no keys']],
    [
      'non-text keys do not crash it',
      {
        dict: [
          [1, 2],
          [{ tuple: [1] }, 3],
        ],
      },
      ['1'],
    ],
    ['an empty state dict', dict({ state_dict: dict({}) }), ['no tensor']],
  ])('CheckpointValidationError: %s', async (_row, root, says) => {
    const error = await refused(read(root));
    expect(error.code).toBe('CheckpointValidationError');
    for (const text of says) expect(error.message).toContain(text);
  });
  test('the first 10 keys found', async () => {
    const keys = Array.from({ length: 14 }, (_, index) => `k${index}`);
    const error = await refused(read(dict(Object.fromEntries(keys.map((key) => [key, 1])))));
    expect(error.details['available_keys']).toEqual(keys.slice(0, 10));
  });
});

describe('6. Sources: local', () => {
  test('source_type, source_path, checkpoint_format, source_bytes; source_path: symlinks resolved', async () => {
    const [path, link] = [join(folder, 'file.pt'), join(folder, 'link.pt')];
    const bytes = torchFile(dict({ model: WEIGHTS }), ZEROS);
    await writeFile(path, bytes);
    await symlink(path, link);
    const { context } = await source({ path: link });
    expect(context.metadata).toEqual({ source_type: 'local', source_path: path, source_bytes: bytes.length, checkpoint_format: 'pytorch' });
  });
  test('`~` expanded', () => {
    expect([localPath('~'), localPath('~/last.ckpt'), localPath('/~/x')]).toEqual([homedir(), join(homedir(), 'last.ckpt'), '/~/x']);
  });
  test.each<[string, () => Promise<string>, string]>([
    ['absent', async () => join(folder, 'nowhere.ckpt'), 'CheckpointNotFoundError'],
    ['a directory', async () => folder, 'CheckpointLoadError'],
    ['an empty file', async () => written('empty.ckpt', ''), 'CheckpointLoadError'],
    ['a corrupt file', async () => written('corrupt.ckpt', 'PK\u0003\u0004 and nothing more'), 'CheckpointLoadError'],
    ['a truncated file', async () => fixture('corrupt/truncated_lightning_trained_half.ckpt'), 'CheckpointLoadError'],
    ['an unknown scheme', async () => 'gs://bucket/key', 'CheckpointConfigError'],
  ])('%s', async (_row, path, code) => {
    const place = await path();
    const error = await refused(source({ path: place }));
    expect(error.code).toBe(code);
    expect(error.message).toContain(place);
  });
  async function written(name: string, text: string): Promise<string> {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  }
  test('similar names sorted by edit distance, at most three', async () => {
    for (const name of ['epoch=1.ckpt', 'epoch=12.ckpt', 'epoch=123.ckpt', 'other.ckpt', 'notes.txt']) await written(name, 'x');
    const error = await refused(source({ path: join(folder, 'epoch=2.ckpt') }));
    expect(error.message).toMatch(/epoch=1\.ckpt.*epoch=12\.ckpt/);
    expect(error.message).not.toContain('notes.txt');
  });
  test('a missing folder is said', async () => {
    expect((await refused(source({ path: join(folder, 'no/such/file.ckpt') }))).message).toContain('does not exist');
  });
});

describe('6. Sources: what is not read', () => {
  test.each([
    ['source.s3', { url: 's3://bucket' }],
    ['source.s3', { url: 's3:///key' }],
    ['source.s3', { url: 'https://host/key' }],
    ['source.http', { url: 'ftp://host/key' }],
    ['source.http', { url: 'http:///path' }],
    ['source.http', { url: 's3://bucket/key' }],
  ])('%s of %j: CheckpointConfigError', async (type, options) => {
    expect((await refused(source(options, type))).code).toBe('CheckpointConfigError');
  });
  test('expected_checksum: compared before parsing; ignores case and takes an algorithm prefix; details {algorithm, expected, actual}', async () => {
    const path = fixture('corrupt/noise.pt');
    const error = await refused(source({ path, expected_checksum: `SHA256:${'AB'.repeat(32)}` }));
    expect(error.code).toBe('CheckpointValidationError');
    expect(error.details).toMatchObject({
      algorithm: 'sha256',
      expected: 'ab'.repeat(32),
      actual: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    const actual = String(error.details['actual']);
    // The right one lets it be parsed: only then is it found to be noise.
    expect((await refused(source({ path, expected_checksum: actual }))).code).not.toBe('CheckpointValidationError');
    const good = await source({ path: fixture('good/state_dict.pt'), expected_checksum: await digestOf('good/state_dict.pt') });
    expect(good.context.metadata['source_sha256']).toBe(await digestOf('good/state_dict.pt'));
  });
  async function digestOf(name: string): Promise<string> {
    return String((await refused(source({ path: fixture(name), expected_checksum: '0'.repeat(64) }))).details['actual']);
  }
  test('unknown classes become opaque values listed in opaque_globals; the file loads without them installed', async () => {
    const path = join(folder, 'opaque.ckpt');
    const hyper = dict({ hook: { object: 'anemoi.models.Thing', state: dict({ x: 1 }) } });
    await writeFile(path, torchFile(dict({ state_dict: WEIGHTS, hyper_parameters: hyper }), ZEROS));
    expect((await source({ path })).context.metadata).toMatchObject({
      opaque_globals: ['anemoi.models.Thing'],
      num_opaque_globals: 1,
    });
  });
  test('danger-list names: CheckpointValidationError listing module and name of each', async () => {
    const path = join(folder, 'evil.ckpt');
    const evil: Pickled = { call: 'os.system', args: ['echo'] };
    await writeFile(path, torchFile(dict({ state_dict: WEIGHTS, a: evil, b: { call: 'builtins.eval', args: ['1'] } }), ZEROS));
    const error = await refused(source({ path }));
    expect(error.code).toBe('CheckpointValidationError');
    expect(error.details['globals']).toEqual([
      expect.objectContaining({ module: 'os', name: 'system' }),
      expect.objectContaining({ module: 'builtins', name: 'eval' }),
    ]);
  });
});
