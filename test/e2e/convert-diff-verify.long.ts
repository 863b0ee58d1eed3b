/** `ckpt convert`, `diff` and `verify` as processes. */
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ckpt as start, type Ended } from '../support/cli.ts';
import { EXPECTED, fixture } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';
import { dict, tensor, torchFile } from '../support/torch-file.ts';

const LIGHTNING = 'good/lightning_trained.ckpt';
let environment: TestWorkflowEnvironment;
let folder: string;
/** On a server of the test's own, so that no other one that is up plays in. */
const ckpt = (...args: readonly string[]): Promise<Ended> =>
  start(args, { cwd: folder, env: { XDG_STATE_HOME: join(folder, 'state'), TEMPORAL_ADDRESS: environment.address } }).ended;
const json = async <T>(...args: readonly string[]): Promise<{ readonly code: number | null; readonly report: T }> => {
  const { code, stdout } = await ckpt(...args, '--json');
  return { code, report: JSON.parse(stdout) as T };
};

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-convert-'));
});
afterAll(async () => {
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

interface Inspected {
  readonly format: string;
  readonly container: string;
  readonly tensors: readonly { readonly name: string }[];
  readonly training: { readonly has_optimizer: boolean; readonly epoch: number | null };
}

describe('convert', () => {
  test.each<readonly [readonly string[], object]>([
    [['a.ckpt'], { format: 'lightning', training: { has_optimizer: true, epoch: 1 } }],
    [['b.ckpt', '--weights-only'], { format: 'lightning', training: { has_optimizer: false, epoch: 0 } }],
    [['c.pt'], { format: 'pytorch', training: { has_optimizer: false, epoch: null } }],
    [['d.pt', '--training-state'], { format: 'pytorch', training: { has_optimizer: true, epoch: 1 } }],
    [['e.bin'], { format: 'state_dict', training: { has_optimizer: false } }],
    [['g.bin', '--training-state'], { format: 'pytorch', training: { has_optimizer: true, epoch: 1 } }],
    [['h.pt', '--format', 'state_dict'], { format: 'state_dict', training: { has_optimizer: false } }],
    [['f.safetensors'], { container: 'safetensors' }],
  ])('%j', async (args, expected) => {
    const { code, stderr } = await ckpt('convert', '--worker', fixture(LIGHTNING), ...args);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const { report } = await json<Inspected>('inspect', args[0]!);
    expect(report).toMatchObject(expected);
    expect(report.tensors.map(({ name }) => name).sort()).toEqual(Object.keys(EXPECTED.good[LIGHTNING]!.tensors).sort());
    expect((await json<{ equal: boolean }>('diff', fixture(LIGHTNING), args[0]!, '--values')).report.equal).toBe(true);
  });

  test('what stands on the command line is not a reference, however it looks', async () => {
    const [source, target] = ['${X}.pt', '$${HOME}-${param.x}.safetensors'];
    await copyFile(fixture('good/state_dict.pt'), join(folder, source));
    const { code, stderr } = await ckpt('convert', '--worker', '--no-report', source, target);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(await readdir(folder)).toContain(target);
  });

  test('by the key of the weights: inspect, convert and diff, and what no key or a wrong one says', async () => {
    const file = dict({ params: dict({ w: tensor(0) }), params_ema: dict({ w: tensor(1), v: tensor(0) }), step: 7 });
    await writeFile(join(folder, 'gan.pth'), torchFile(file, { '0': new Uint8Array(8), '1': new Uint8Array(8).fill(1) }));
    const key = ['--state-dict-key', 'params_ema'];
    const silent = await ckpt('inspect', 'gan.pth');
    expect({ code: silent.code, says: silent.stderr }).toEqual({
      code: 1,
      says: expect.stringContaining('Tensors are in params, params_ema'),
    });
    expect((await json('inspect', 'gan.pth', ...key)).report).toMatchObject({
      state_dict_key: 'params_ema',
      tensors: [{ name: 'w' }, { name: 'v' }],
      other_content: ['params', 'step'],
      training_state: { params: expect.anything(), step: 7 },
    });
    expect((await ckpt('convert', '--worker', 'gan.pth', 'gan.safetensors', '--state-dict-key', 'ema')).stdout).toContain(
      'has no key "ema"',
    );
    const converted = await json('convert', '--worker', 'gan.pth', 'gan.safetensors', ...key);
    expect(converted).toMatchObject({ code: 0, report: { status: 'completed', metadata: { state_dict_key: 'params_ema' } } });
    expect((await json('diff', 'gan.pth', 'gan.safetensors', '--values', ...key)).report).toMatchObject({ equal: true, compared: 2 });
    const against = await json('diff', 'gan.safetensors', 'gan.pth', '--values', '--target-state-dict-key', 'params');
    expect(against.report).toMatchObject({ equal: false, unexpected_keys: ['v'], value_mismatches: ['w'] });
    expect((await ckpt('inspect', 'gan.safetensors', ...key)).code).toBe(2);
    expect((await ckpt('verify', 'gan.pth')).stderr).toContain('`--state-dict-key` of a command');
    expect((await json('verify', 'gan.pth', ...key)).report).toMatchObject({ valid: true, tensors: 3 });
  });

  test('into shards, and back from their index', async () => {
    expect((await ckpt('convert', '--worker', fixture(LIGHTNING), 'shards/model.safetensors', '--shard-size', '100B')).code).toBe(0);
    expect((await ckpt('convert', '--worker', 'shards/model.safetensors.index.json', 'whole.pt')).code).toBe(0);
    expect((await ckpt('diff', fixture(LIGHTNING), 'whole.pt', '--values')).code).toBe(0);
    expect((await ckpt('verify', 'shards/model.safetensors.index.json', '--manifest')).code).toBe(0);
  });

  test.each([
    ['both kinds', ['x.pt', '--weights-only', '--training-state'], 'exclude each other'],
    ['training state in safetensors', ['x.safetensors', '--training-state'], 'holds no training state'],
    ['a size that is none', ['x.safetensors', '--shard-size', 'lots'], 'shard_size'],
    ['a format that is none', ['x', '--format', 'onnx'], 'onnx'],
  ])('%s: exit 2', async (_, args, text) => {
    const { code, stderr } = await ckpt('convert', '--worker', fixture(LIGHTNING), ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(text);
  });
});

describe('diff', () => {
  test('names, shapes and dtypes, by header alone', async () => {
    const { code, report } = await json('diff', fixture('good/transfer_source.ckpt'), fixture('good/transfer_target.pt'));
    expect(code).toBe(1);
    const source = EXPECTED.good['good/transfer_source.ckpt']!.tensors;
    const target = EXPECTED.good['good/transfer_target.pt']!.tensors;
    const shared = Object.keys(source).filter((name) => Object.hasOwn(target, name));
    expect(report).toMatchObject({
      equal: false,
      missing_keys: Object.keys(target).filter((name) => !Object.hasOwn(source, name)),
      unexpected_keys: Object.keys(source).filter((name) => !Object.hasOwn(target, name)),
      shape_mismatches: shared
        .filter((name) => String(source[name]!.shape) !== String(target[name]!.shape))
        .map((name) => ({ name, source: source[name]!.shape, target: target[name]!.shape })),
      value_mismatches: null,
    });
  });

  test('one changed value', async () => {
    const bytes = await readFile(fixture('good/plain.safetensors'));
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(join(folder, 'changed.safetensors'), bytes);
    expect((await ckpt('diff', fixture('good/plain.safetensors'), 'changed.safetensors')).code).toBe(0);
    const { code, report } = await json<{ value_mismatches: string[] }>(
      'diff',
      fixture('good/plain.safetensors'),
      'changed.safetensors',
      '--values',
    );
    expect(code).toBe(1);
    expect(report.value_mismatches.length).toBe(1);
    const { stdout } = await ckpt('diff', fixture('good/plain.safetensors'), 'changed.safetensors', '--values');
    expect(stdout).toContain(`  ${Object.keys(EXPECTED.good['good/plain.safetensors']!.tensors).length - 1} tensors alike`);
  });
});

interface Verified {
  readonly valid: boolean;
  readonly findings: readonly { readonly code: string; readonly tensor?: string; readonly nan?: number; readonly inf?: number }[];
}

describe('verify', () => {
  test('a published file against its manifest, and again after a byte has changed', async () => {
    await ckpt('convert', '--worker', fixture(LIGHTNING), 'v.safetensors');
    expect(await json<Verified>('verify', 'v.safetensors', '--manifest')).toMatchObject({
      code: 0,
      report: { valid: true, manifest: 'compared' },
    });
    const bytes = await readFile(join(folder, 'v.safetensors'));
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(join(folder, 'v.safetensors'), bytes);
    const { code, report } = await json<Verified>('verify', 'v.safetensors');
    expect(code).toBe(1);
    expect(report.findings.map((finding) => finding.code)).toEqual(['digest', 'tensor_digest']);
  });

  test('a damaged byte, of a tensor or of a value that is not looked into', async () => {
    const values = { state_dict: dict({ q: tensor(0, [2]) }), other: [tensor(1, [2_500_000])] };
    const storages = { '0': Buffer.alloc(8, 1), '1': Buffer.alloc(10_000_000, 2) };
    const file = torchFile(dict(values), storages);
    await writeFile(join(folder, 'members.pt'), file);
    expect(await json('verify', 'members.pt')).toMatchObject({ code: 0, report: { valid: true } });
    for (const [key, byte] of [
      ['0', 3],
      ['1', 9_999_999],
    ] as const) {
      const damaged = Buffer.from(file);
      damaged[damaged.indexOf(storages[key]) + byte]! ^= 4;
      await writeFile(join(folder, 'damaged.pt'), damaged);
      expect(await json('verify', 'damaged.pt')).toMatchObject({
        code: 1,
        report: {
          error: {
            type: 'CheckpointLoadError',
            message: expect.stringMatching(new RegExp(`archive/data/${key}.*CRC-32|CRC-32 of the member archive/data/${key}`)),
          },
        },
      });
    }
  });

  test('NaN and infinite values, counted by tensor', async () => {
    const header = JSON.stringify({
      good: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
      half: { dtype: 'BF16', shape: [3], data_offsets: [8, 14] },
      whole: { dtype: 'I16', shape: [1], data_offsets: [14, 16] },
    });
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(header.length));
    const data = Buffer.alloc(16);
    data.writeUInt16LE(0x7fc0, 8);
    data.writeUInt16LE(0xff80, 12);
    data.writeUInt16LE(0x7f80, 14);
    await writeFile(join(folder, 'nan.safetensors'), Buffer.concat([size, Buffer.from(header), data]));
    const { code, report } = await json<Verified>('verify', 'nan.safetensors');
    expect(code).toBe(1);
    expect(report.findings).toEqual([expect.objectContaining({ code: 'non_finite', tensor: 'half', nan: 1, inf: 1 })]);
  });

  test('the training state is looked into, a damaged file is an error, a missing manifest too', async () => {
    const { report } = await json<{ tensors: number }>('verify', fixture(LIGHTNING));
    expect(report.tensors).toBeGreaterThan(Object.keys(EXPECTED.good[LIGHTNING]!.tensors).length);
    expect(await json('verify', fixture('corrupt/html_error_page.ckpt'))).toMatchObject({
      code: 1,
      report: { error: { type: 'CheckpointLoadError' } },
    });
    expect(await json('verify', fixture(LIGHTNING), '--manifest')).toMatchObject({
      code: 1,
      report: { error: { type: 'CheckpointNotFoundError' } },
    });
  });
});
