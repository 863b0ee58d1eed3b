/** Where a file keeps its state dict and how far its training had come, in files that no well-behaved trainer wrote. */
import { describe, expect, test } from '@jest/globals';
import { reportOf, type CheckpointError } from '../../../src/errors.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { suggestionFor } from '../../../src/pipeline/advice.ts';
import { memorySource } from '../../support/memory-source.ts';
import type { Pickled } from '../../support/pickle.ts';
import { dict, tensor, torchFile } from '../../support/torch-file.ts';

const BYTES = { '0': new Uint8Array(8), '1': new Uint8Array(8) };

function read(root: Pickled) {
  return readHeader(memorySource(torchFile(root, BYTES)));
}

async function errorOf(root: Pickled): Promise<CheckpointError> {
  return read(root).then(
    () => Promise.reject(new Error('it should have failed')),
    (error: unknown) => error as CheckpointError,
  );
}

describe('no state dict', () => {
  test('an object is called a whole module only where it is one', async () => {
    const module = await errorOf({ object: 'my.Net', state: dict({ training: true, _modules: dict({}) }) });
    expect(module.message).toContain('holds an object of my.Net, expected a dict. It is a pickled whole module');
    const other = await errorOf({ object: 'transformers.TrainingArguments', state: dict({ lr: 1 }) });
    expect(other.message).toContain('expected a dict. It is probably no model checkpoint: save');
  });

  test('arrays of NumPy are named, with what to do', async () => {
    const array: Pickled = { call: 'numpy._core.numeric._frombuffer', args: [{ tuple: [] }, { tuple: [] }] };
    const says = 'Arrays of NumPy were found (2: w, b): save them as tensors, made by torch.from_numpy.';
    expect((await errorOf(dict({ w: array, b: array, step: 3 }))).message).toContain(says);
    expect((await errorOf(dict({ state_dict: dict({ w: array, b: array }) }))).message).toContain(says);
  });

  test('keys that hold tensors are named, with what to do', async () => {
    const error = await errorOf(dict({ net: dict({ a: tensor(0) }), step: 3, ema: dict({ a: tensor(1) }) }));
    expect(error.message).toContain('Tensors are in net, ema: name the one you mean with `state_dict_key`');
    expect(error.details).toMatchObject({
      reason: 'no_state_dict',
      available_keys: ['net', 'step', 'ema'],
      keys_with_tensors: ['net', 'ema'],
    });
    expect(suggestionFor(reportOf(error))).toContain('`--state-dict-key` of `ckpt inspect`');
  });

  test('a Counter of pairs counts them, and is not a mapping of their names; one of a dict is', async () => {
    const pairs: Pickled = { call: 'collections.Counter', args: [[{ tuple: ['w', tensor(0)] }]] };
    await expect(read(pairs)).rejects.toMatchObject({ code: 'CheckpointValidationError' });
    const { weights } = await read({ call: 'collections.Counter', args: [dict({ w: tensor(0) })] });
    expect(weights.map(({ name }) => name)).toEqual(['w']);
  });

  test('what is not a tensor among tensors is named', async () => {
    const error = await errorOf(dict({ a: tensor(0), bias: null, b: tensor(1) }));
    expect(error.message).toContain('Beside 2 tensors there is what is none: bias (None). An empty `state_dict_key`');
    expect(error.details['keys_with_tensors']).toEqual(['']);
  });

  test('keys that hold tensors are found at any depth, those of optimizers left aside, ten of them', async () => {
    const nested = dict({
      app: dict({ optim: dict({ state: dict({ w: dict({ exp_avg: tensor(0) }) }) }), model: dict({ w: tensor(1) }) }),
      optimizer_state_dict: dict({ state: dict({ w: tensor(0) }) }),
    });
    expect((await errorOf(nested)).details['keys_with_tensors']).toEqual(['app.model']);
    const many = dict({ step: 1, nets: dict(Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`n${i}`, dict({ w: tensor(0) })]))) });
    expect((await errorOf(many)).details['keys_with_tensors']).toEqual(Array.from({ length: 10 }, (_, i) => `nets.n${i}`));
  });

  test.each<[string, Pickled, string]>([
    [
      'a text',
      dict({ model: 'resnet18', weights: dict({ w: tensor(0) }) }),
      'key model holds a str, expected a dict of tensors. Tensors are in weights',
    ],
    [
      'dicts',
      dict({ model: dict({ a: dict({ w: tensor(0) }) }) }),
      'under model holds no tensor (other values: 1). Tensors are in model.a',
    ],
  ])('a key of the rule that holds %s says where tensors are', async (_name, root, says) => {
    expect((await errorOf(root)).message).toContain(says);
  });
});

describe('epoch and step', () => {
  const whole = (dtype: string, bytes: string): Pickled => ({
    call: 'numpy._core.multiarray.scalar',
    args: [
      { call: 'numpy.dtype', args: [dtype, false, true] },
      { call: '_codecs.encode', args: [bytes, 'latin1'] },
    ],
  });

  test.each<[string, Pickled, number | null]>([
    ['an int', 7, 7],
    ['a scalar of numpy', whole('i8', '\x07\0\0\0\0\0\0\0'), 7],
    ['a large one', 2n ** 60n, null],
    ['None', null, null],
    ['a text', '7', null],
  ])('%s', async (_name, value, expected) => {
    const { training } = await read(dict({ state_dict: dict({ a: tensor(0) }), epoch: value, global_step: value }));
    expect([training.epoch, training.global_step]).toEqual([expected, expected]);
  });
});

describe('tensors below a value of the state dict are counted, however deep', () => {
  const meta: Pickled = {
    call: 'torch._utils._rebuild_meta_tensor_no_storage',
    args: [{ global: 'torch.float32' }, { tuple: [2] }, { tuple: [1] }, false],
  };
  const nonTensors = async (values: Readonly<Record<string, Pickled>>) =>
    (await read(dict({ model: dict({ w: tensor(0), ...values }) }))).nonTensors.map(({ is, tensors, unsupported }) => [
      is,
      tensors,
      unsupported,
    ]);

  test.each<[string, Pickled, string, number]>([
    ['a dict of dicts', dict({ layers: dict({ '0': dict({ w: tensor(1) }), '1': dict({ w: tensor(0), b: tensor(1) }) }) }), 'a dict', 3],
    ['a tuple', { tuple: [tensor(1), null] }, 'a tuple', 1],
    ['a list of lists', [[tensor(0)], [tensor(1)]], 'a list', 2],
    ['an object of the table', { object: 'types.SimpleNamespace', state: dict({ w: tensor(1) }) }, 'an object of types.SimpleNamespace', 1],
  ])('%s', async (_, value, is, tensors) => {
    expect(await nonTensors({ sub: value })).toEqual([[is, tensors, undefined]]);
  });

  test('in none there are none', async () => {
    expect(await nonTensors({ sub: dict({ a: [1, { tuple: ['b'] }] }) })).toEqual([['a dict', undefined, undefined]]);
  });

  test('those without a dense form are told of, but for extra state', async () => {
    expect(await nonTensors({ _packed_params: { tuple: [meta, null] }, 'a._extra_state': [meta] })).toEqual([
      ['a tuple', 1, 'meta'],
      ['a list', 1, undefined],
    ]);
  });
});
