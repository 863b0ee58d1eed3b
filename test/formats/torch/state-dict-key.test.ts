/** The state dict under a key that the user names: in every container that has dicts, and through to what is published. */
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { CheckpointError } from '../../../src/errors.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { layoutTorch } from '../../../src/formats/torch/layout.ts';
import { renderTree } from '../../../src/formats/torch/render-tree.ts';
import { openSource } from '../../../src/io/locations/open.ts';
import { siblingsOf } from '../../../src/io/locations/siblings.ts';
import type { Header } from '../../../src/model/header.ts';
import { keepTrainingState } from '../../../src/transform/keep-training-state.ts';
import { otherContent } from '../../../src/transform/left-out.ts';
import { selectWeights } from '../../../src/transform/select-weights.ts';
import { memorySource } from '../../support/memory-source.ts';
import type { Pickled } from '../../support/pickle.ts';
import { fixture, PROJECT_ROOT } from '../../support/project.ts';
import { bytesOf } from '../../support/publish.ts';
import { dict, tensor, torchFile } from '../../support/torch-file.ts';

/** Each of other bytes, so that weights are told apart by them. */
const BYTES = Object.fromEntries([0, 1, 2, 3].map((key) => [String(key), new Uint8Array(8).fill(key)]));

const sourceOf = (root: Pickled) => memorySource(torchFile(root, BYTES));
const read = (root: Pickled, stateDictKey: string): Promise<Header> => readHeader(sourceOf(root), undefined, { stateDictKey });

async function readFile(path: string, stateDictKey: string): Promise<Header> {
  const source = await openSource(path);
  return readHeader(source, siblingsOf(source.uri, openSource), { stateDictKey }).finally(() => source.close());
}

async function errorOf(what: Promise<unknown>): Promise<CheckpointError> {
  return what.then(
    () => Promise.reject(new Error('it should have failed')),
    (error: unknown) => error as CheckpointError,
  );
}

/** Names of the weights, each with the number of its storage. */
function weightsOf({ weights, tensors, storages }: Header): readonly string[] {
  return weights.map(({ name, tensor: at }) => {
    const { location } = storages[tensors[at]!.storage]!;
    return `${name} ${location.kind === 'member' ? location.name.split('/').at(-1) : ''}`;
  });
}

describe('a key', () => {
  const two = dict({ a: tensor(1), b: tensor(2) });
  test.each<[string, Pickled, string, readonly string[]]>([
    ['of the top level', dict({ params: dict({ w: tensor(0) }), params_ema: dict({ w: tensor(1) }) }), 'params_ema', ['w 1']],
    [
      'before what the rule would take',
      dict({ state_dict: dict({ w: tensor(0) }), state_dict_ema: two }),
      'state_dict_ema',
      ['a 1', 'b 2'],
    ],
    ['that the rule would take, too', dict({ state_dict: two }), 'state_dict', ['a 1', 'b 2']],
    ['of a dict in a dict', dict({ app: dict({ model: two, optim: dict({}) }) }), 'app.model', ['a 1', 'b 2']],
    ['with dots in it, before the parts', dict({ 'a.b': dict({ w: tensor(3) }), a: dict({ b: dict({ w: tensor(0) }) }) }), 'a.b', ['w 3']],
    ['with dots in it, below another', dict({ nets: dict({ 'g.ema': dict({ w: tensor(3) }), g: dict({}) }) }), 'nets.g.ema', ['w 3']],
    ['that begins another', dict({ 'a.b': dict({ c: dict({ w: tensor(3) }) }), a: dict({}) }), 'a.b.c', ['w 3']],
    [
      'that is an integer',
      {
        dict: [
          [0, dict({ w: tensor(0) })],
          [10n ** 20n, { dict: [[1, dict({ w: tensor(1) })]] }],
        ],
      },
      `${10n ** 20n}.1`,
      ['w 1'],
    ],
    [
      'that is a text before one that is an integer',
      {
        dict: [
          [0, dict({ w: tensor(0) })],
          ['0', dict({ w: tensor(1) })],
        ],
      },
      '0',
      ['w 1'],
    ],
    [
      'that is empty: the top level, without what is not a tensor',
      dict({ a: tensor(0), version: 3, b: tensor(1), ema: two }),
      '',
      ['a 0', 'b 1'],
    ],
  ])('%s', async (_name, root, key, weights) => {
    const header = await read(root, key);
    expect(weightsOf(header)).toEqual(weights);
    expect(header.stateDictKey).toBe(key === '' ? null : key);
  });

  test('at the top level: what is not a tensor is named, and is not training state', async () => {
    const header = await read(dict({ a: tensor(0), version: 3, epoch: 4 }), '');
    expect(header).toMatchObject({
      format: 'state_dict',
      nonTensors: [
        { name: 'version', is: 'an int' },
        { name: 'epoch', is: 'an int' },
      ],
      training: { epoch: null },
    });
  });

  test('leaves the epoch beside it, and is not training state itself', async () => {
    const { training } = await read(dict({ optimizer: dict({ net: dict({ w: tensor(0) }) }), epoch: 4 }), 'optimizer.net');
    expect(training).toMatchObject({ epoch: 4, has_optimizer: false });
  });
});

describe('a key without a state dict is refused with what is there, and where tensors are', () => {
  const root = dict({ net: dict({ g: dict({ w: tensor(0) }), name: 'g' }), steps: [1, 2], none: dict({ a: 1 }) });
  test.each([
    ['nte', 'has no key "nte". Keys at the top level: net, steps, none. Tensors are in net.g'],
    ['net.h', 'has no key "net.h". Keys under net: g, name. Tensors are in net.g'],
    ['net.', 'has no key "net.". Keys under net: g, name.'],
    ['.net', 'has no key ".net". Keys at the top level: net, steps, none.'],
    ['steps', 'key steps holds a list, expected a dict of tensors. Tensors are in net.g'],
    ['steps.0', 'key steps holds a list, expected a dict of tensors.'],
    ['net.g.w', 'key net.g.w holds a tensor, expected a dict of tensors.'],
    ['none', 'the state dict under none holds no tensor (other values: 1). Tensors are in net.g'],
    ['', 'the state dict holds no tensor (other values: 3). Tensors are in net.g'],
  ])('%j', async (key, says) => {
    const error = await errorOf(read(root, key));
    expect(error.code).toBe('CheckpointValidationError');
    expect(error.message).toContain(says);
    expect(error.details).toMatchObject({ reason: 'no_state_dict', keys_with_tensors: ['net.g'] });
  });

  test('a path that another value has is not offered', async () => {
    const shadowed: Pickled = {
      dict: [
        ['0', null],
        [0, dict({ w: tensor(0) })],
        ['net', dict({ w: tensor(1) })],
      ],
    };
    expect((await errorOf(read(shadowed, 'x'))).details['keys_with_tensors']).toEqual(['net']);
  });
});

describe('containers', () => {
  const readers = (name: string): string => join(PROJECT_ROOT, 'test', 'fixtures', 'readers', name);

  test.each([
    ['legacy', fixture('good/pytorch_training_legacy.pt'), 'optimizer_state_dict.state.0'],
    ['zip', fixture('good/pytorch_training.pt'), 'optimizer_state_dict.state.0'],
    ['distributed', readers('training'), 'optimizer.state.0'],
  ])('%s', async (container, path, key) => {
    const header = await readFile(path, key);
    expect(header).toMatchObject({ container, stateDictKey: key, stateDictPath: key.split('.') });
    expect(header.weights.map(({ name }) => name)).toEqual(['step', 'exp_avg', 'exp_avg_sq']);
  });

  test.each([
    ['safetensors', fixture('good/plain.safetensors')],
    ['a set of shards', fixture('good/sharded_pytorch')],
    ['a TorchScript module', fixture('good/torchscript.pt')],
  ])('%s: no keys', async (what, path) => {
    await expect(readFile(path, 'model')).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringMatching(`${what} ha(s|ve) no keys`),
      details: { config_path: 'state_dict_key' },
    });
  });
});

describe('published', () => {
  const root = dict({
    state_dict: dict({ old: tensor(0) }),
    nets: dict({ ema: dict({ w: tensor(1) }), decay: 2 }),
    optimizer: dict({ m: tensor(2) }),
    epoch: 5,
  });

  async function written(key: string, format: 'lightning' | 'pytorch') {
    const source = sourceOf(root);
    const header = await readHeader(source, undefined, { stateDictKey: key });
    const plan = keepTrainingState(header, selectWeights(header, { skipUnsupported: false }));
    const layout = layoutTorch(plan, format);
    const again = await readHeader(memorySource(await bytesOf(plan, layout, async () => source)));
    return { header, plan, again, dropped: [...plan.dropped, ...layout.dropped].map(({ what }) => what) };
  }
  const topLevel = ({ tree, tensors, storages }: Header) =>
    Object.keys(renderTree({ tree: tree!, tensors, storages }, tree!.root) as object);

  test.each(['lightning', 'pytorch'] as const)(
    '%s: the weights once, what lay beside them at the top level, no other weights',
    async (format) => {
      const { header, plan, again, dropped } = await written('nets.ema', format);
      expect(otherContent(header)).toEqual(['state_dict', 'optimizer', 'epoch', 'nets.decay']);
      expect(plan.stateTensors!.map(({ name }) => name)).toEqual(['state_dict.old', 'optimizer.m']);
      expect(dropped).toEqual(['nets.decay', 'state_dict']);
      expect(topLevel(again)).toEqual(
        expect.arrayContaining([format === 'lightning' ? 'optimizer_states' : 'optimizer_state_dict', 'epoch']),
      );
      expect(topLevel(again)).not.toContain('nets');
      // What any reader takes for the weights are those that were asked for.
      expect(again.stateDictKey).toBe(format === 'lightning' ? 'state_dict' : 'model_state_dict');
      expect(again.weights.map(({ name }) => name)).toEqual(['w']);
    },
  );

  test('an empty key on the way is shown as one', async () => {
    const held = { dict: [['', dict({ w: tensor(0), v: 1 })]] } as const;
    await expect(read(held as never, '.')).rejects.toThrow('has no key ".". Keys under "": w, v.');
  });

  test('an integer key is not repeated either', async () => {
    const header = await read(
      {
        dict: [
          [0, dict({ w: tensor(0) })],
          ['epoch', 1],
        ],
      },
      '0',
    );
    const plan = keepTrainingState(header, selectWeights(header, { skipUnsupported: false }));
    expect(plan.stateTensors).toEqual([]);
    expect(plan.dropped).toEqual([]);
    expect(otherContent(header)).toEqual(['epoch']);
  });

  test('the tree of the header holds no weights', async () => {
    const { tree } = await read(root, 'nets.ema');
    const tensors = tree!.nodes.filter((node) => typeof node === 'object' && node?.kind === 'tensor');
    expect(tensors).toHaveLength(2);
  });
});
