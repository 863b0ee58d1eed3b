/** Attributes that a program has set on tensors: none is published, and none goes without a word. */
import { describe, expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import type { Header } from '../../../src/model/header.ts';
import { loadWeights } from '../../../src/transform/load.ts';
import { RULES } from '../../support/load-rules.ts';
import { memorySource } from '../../support/memory-source.ts';
import type { Pickled } from '../../support/pickle.ts';
import { dict, tensor, torchFile } from '../../support/torch-file.ts';

const HOOKS: Pickled = { call: 'collections.OrderedDict', args: [] };
const BYTES = Object.fromEntries(Array.from({ length: 6 }, (_, key) => [key, new Uint8Array(8)]));

const parameter = (key: number, state: Pickled): Pickled => ({
  call: 'torch._utils._rebuild_parameter_with_state',
  args: [tensor(key), false, HOOKS, state],
});
const subclass = (key: number, state: Pickled): Pickled => ({
  call: 'torch._tensor._rebuild_from_type_v2',
  args: [
    { global: 'torch._utils._rebuild_tensor_v2' },
    { global: 'torch.Tensor' },
    { tuple: (tensor(key) as { readonly args: readonly Pickled[] }).args },
    state,
  ],
});

async function read(root: Pickled): Promise<Header> {
  return readHeader(memorySource(torchFile(root, BYTES)));
}

describe.each([
  ['a parameter', parameter],
  ['a subclass', subclass],
] as const)('of %s', (_, build) => {
  test('are told by name, with the tensors that they hold', async () => {
    const { attributes, weights, tensors } = await read(
      dict({ w: build(0, dict({ tag: 'x', scale: tensor(1), deep: [tensor(2), dict({ t: tensor(3) })] })), b: tensor(4) }),
    );
    expect(weights.map(({ name }) => name)).toEqual(['w', 'b']);
    expect(tensors[weights[0]!.tensor]).toMatchObject({ shape: [2], storage: 0 });
    expect(attributes).toEqual([{ name: 'w.__dict__', is: 'attributes of a tensor: tag, scale, deep', tensors: 3 }]);
  });

  test('and slots, too; of very many the first ten', async () => {
    const many = Object.fromEntries(Array.from({ length: 30 }, (__, index) => [`k${index}`, index]));
    const { attributes } = await read(dict({ w: build(0, { tuple: [dict({ tag: 1 }), dict({ slot: 2 })] }), b: build(1, dict(many)) }));
    expect(attributes).toEqual([
      { name: 'w.__dict__', is: 'attributes of a tensor: tag, slot' },
      { name: 'b.__dict__', is: 'attributes of a tensor: k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, …' },
    ]);
  });

  test.each<[string, Pickled]>([
    ['none', null],
    ['no entries', dict({})],
    ["torch's own marks", dict({ _is_buffer: true, persistent: false })],
  ])('%s: nothing is told', async (__, state) => {
    expect(await read(dict({ w: build(0, state) }))).not.toHaveProperty('attributes');
  });

  test('inside the training state they are named under what is dropped', async () => {
    const header = await read(dict({ state_dict: dict({ w: tensor(0) }), optimizer: dict({ m: build(1, dict({ scale: tensor(2) })) }) }));
    const { plan } = loadWeights(header, undefined, { ...RULES, keepTrainingState: true });
    expect(plan.stateTensors).toMatchObject([{ name: 'optimizer.m', shape: [2] }]);
    expect(plan.dropped).toEqual([{ what: 'optimizer.m.__dict__', reason: 'attributes of a tensor: scale' }]);
  });
});
