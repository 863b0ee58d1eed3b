/** Sections 3 and 10: what errors carry and say, and what the tools on files tell. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  CheckpointConfigError,
  CheckpointError,
  CheckpointLoadError,
  CheckpointNotFoundError,
  CheckpointSourceError,
  CheckpointTimeoutError,
  CheckpointValidationError,
  FINAL_CODES,
  reportOf,
} from '../../src/errors.ts';
import { compareWeights } from '../../src/transform/compare-weights.ts';
import { ckpt, type Ended } from '../support/cli.ts';
import { headerOf, type Shapes } from '../support/headers.ts';
import { dict, tensor, torchFile } from '../support/torch-file.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-tools-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('3. Errors', () => {
  test.each<[string, CheckpointError, object]>([
    ['CheckpointError: none', new CheckpointError('m'), {}],
    ['NotFound: path', new CheckpointNotFoundError('m', '/x'), { path: '/x' }],
    [
      'Load: path, original_error, error_type',
      new CheckpointLoadError('m', '/x', { cause: new RangeError('cut') }),
      { path: '/x', original_error: 'cut', error_type: 'RangeError' },
    ],
    [
      'Validation: validation_errors+num_errors',
      new CheckpointValidationError('m', ['a', 'b']),
      { validation_errors: ['a', 'b'], num_errors: 2 },
    ],
    ['Validation: only if non-empty', new CheckpointValidationError('m'), {}],
    ['Config: config_path', new CheckpointConfigError('m', 'stages[0]'), { config_path: 'stages[0]' }],
    ['Config: only if given', new CheckpointConfigError('m'), {}],
    [
      'Source: source_path; original_error if there is a cause',
      new CheckpointSourceError('m', 's3://b/k', { cause: new Error('reset') }),
      {
        source_path: 's3://b/k',
        original_error: 'reset',
      },
    ],
    [
      'Timeout: operation, timeout_seconds',
      new CheckpointTimeoutError('m', 'download', 30),
      { operation: 'download', timeout_seconds: 30 },
    ],
    [
      'details given by the raiser are merged last and win',
      new CheckpointNotFoundError('m', '/x', { details: { path: '/y', more: 1 } }),
      {
        path: '/y',
        more: 1,
      },
    ],
  ])('%s', (_row, error, details) => {
    expect(error.details).toEqual(details);
    expect(error).toBeInstanceOf(CheckpointError);
  });
  test('the cause is kept; any other error keeps its text and class', () => {
    const cause = new Error('why');
    expect(new CheckpointError('m', { cause }).cause).toBe(cause);
    expect(reportOf(new TypeError('x'))).toEqual({
      type: 'CheckpointError',
      message: 'x',
      details: { original_error: 'x', error_type: 'TypeError' },
    });
    expect(reportOf('text')).toMatchObject({ type: 'CheckpointError', message: 'text' });
  });
  test('retry: Config, NotFound, Load, Incompatible, Validation are final', () => {
    expect([...FINAL_CODES].sort()).toEqual([
      'CheckpointConfigError',
      'CheckpointIncompatibleError',
      'CheckpointLoadError',
      'CheckpointNotFoundError',
      'CheckpointValidationError',
    ]);
    expect(new CheckpointTimeoutError('m', 'x', 1).retryable).toBe(true);
    expect(new CheckpointSourceError('m', 'x').retryable).toBe(true);
    expect(new CheckpointSourceError('m', 'x', { retryable: false }).retryable).toBe(false);
  });
});

describe('10. Tools on files', () => {
  const file = async (name: string, root: Parameters<typeof torchFile>[0], values: readonly number[] = [1, 2]): Promise<string> => {
    const bytes = new Uint8Array(new Float32Array(values).buffer);
    await writeFile(join(folder, name), torchFile(root, { 0: bytes, 1: bytes }));
    return name;
  };
  const run = async (...args: readonly string[]): Promise<Ended & { readonly json: Record<string, unknown> }> => {
    const ended = await ckpt([...args, '--json'], { cwd: folder, env: {} }).ended;
    return { ...ended, json: JSON.parse(ended.stdout) as Record<string, unknown> };
  };

  test('compare: missing = only in target; unexpected = only in source; shapes name -> (source, target); dtype differences apart', () => {
    const source: Shapes = { a: ['F32', [2]], b: ['F32', [3]], c: ['F32', [1]], d: ['F32', [1]] };
    const target: Shapes = { a: ['F32', [2]], b: ['F32', [4]], c: ['BF16', [1]], e: ['F32', [1]] };
    const { missing, unexpected, shapes, dtypes, alike } = compareWeights(headerOf(source), headerOf(target));
    expect([missing, unexpected, alike.map(({ name }) => name)]).toEqual([['e'], ['d'], ['a']]);
    expect(shapes).toEqual([{ name: 'b', source: [3], target: [4] }]);
    expect(dtypes).toEqual([{ name: 'c', source: 'F32', target: 'BF16' }]);
  });
  test('inspect: header only; epoch, global_step; lists summarised; adds format, num_elements, tensor_bytes, dtypes', async () => {
    const name = await file(
      'training.pt',
      dict({
        model_state_dict: dict({ w: tensor(0), tied: tensor(0) }),
        epoch: 4,
        global_step: 9,
        best_score: 3,
        optimizer_states: [dict({ m: tensor(1) })],
      }),
    );
    const { json } = await run('inspect', name);
    expect(json).toMatchObject({
      format: 'pytorch',
      num_parameters: 2,
      num_elements: 4,
      tensor_bytes: 16,
      dtypes: { F32: 2 },
      training: { epoch: 4, global_step: 9 },
      training_state: { best_score: 3 },
    });
  });
  test('tensors below values of the state dict that are none: each command says that they are left out', async () => {
    const name = await file('nested.pt', dict({ model: dict({ w: tensor(0), encoder: dict({ layers: [tensor(1)] }) }) }));
    const nested = { name: 'encoder', is: 'a dict', tensors: 1 };
    expect((await run('inspect', name)).json['non_tensors']).toEqual([nested]);
    expect((await run('verify', name)).json).toMatchObject({ valid: true, left_out: [nested] });
    expect((await run('diff', name, await file('flat.pt', dict({ w: tensor(0) })))).json).toMatchObject({
      equal: true,
      left_out: [{ of: 'source', ...nested }],
    });
    const { stdout } = await ckpt(['diff', name, name], { cwd: folder, env: {} }).ended;
    expect(stdout).toContain('in the second: encoder (a dict with 1 tensor)');
  });
  test('memory estimate: lists included; totals with and without sharing', async () => {
    const name = await file(
      'memory.pt',
      dict({ model: dict({ w: tensor(0), tied: tensor(0) }), optimizer_states: [dict({ m: tensor(1) })] }),
    );
    expect((await run('inspect', name)).json['memory']).toEqual({ without_sharing: 24, with_sharing: 16 });
  });
  test('inspect: raw counted', async () => {
    expect((await run('inspect', await file('raw.pt', dict({ w: tensor(0) })))).json).toMatchObject({
      format: 'state_dict',
      num_parameters: 1,
    });
  });
  test('inspect of a non-mapping -> CheckpointValidationError', async () => {
    const { code, json } = await run('inspect', await file('list.pt', [1, 2]));
    expect([code, json]).toEqual([1, { error: expect.objectContaining({ type: 'CheckpointValidationError' }) }]);
  });
  test('validate: raw accepted; NaN and infinite values with the dotted name from the top; lists walked; counts per tensor', async () => {
    expect((await run('verify', await file('fine.pt', dict({ w: tensor(0) })))).json).toMatchObject({ valid: true });
    const root = dict({ model_state_dict: dict({ w: tensor(0) }), optimizer_states: [dict({ m: tensor(1) })] });
    const { code, json } = await run('verify', await file('nan.pt', root, [Number.NaN, Number.POSITIVE_INFINITY]));
    expect(code).toBe(1);
    expect(json['findings']).toEqual([
      expect.objectContaining({ code: 'non_finite', tensor: 'model_state_dict.w', nan: 1, inf: 1 }),
      expect.objectContaining({ code: 'non_finite', tensor: expect.stringMatching(/^optimizer_states.*m$/), nan: 1, inf: 1 }),
    ]);
  });
  test('validate: an empty checkpoint, none of the keys', async () => {
    for (const root of [dict({}), dict({ foo: 1 })]) {
      const { code, json } = await run('verify', await file('none.pt', root));
      expect([code, json]).toEqual([1, { error: expect.objectContaining({ type: 'CheckpointValidationError' }) }]);
    }
  });
});
