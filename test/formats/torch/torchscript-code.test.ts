/** TorchScript archives: classes are found where torch seeks them, and what is not there is an error, never a guess. */
import { describe, expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import { memorySource } from '../../support/memory-source.ts';
import { pickle, type Pickled } from '../../support/pickle.ts';
import { dict, tensor } from '../../support/torch-file.ts';
import { zip, type Part } from '../../support/zip.ts';

const module = (name: string, slots: Readonly<Record<string, Pickled>>): Pickled => ({ object: name, state: dict(slots) });

/** What torch 2 saves of a scripted module that holds one which torch 1.4 had saved: the slots of the latter stay in their order. */
const WRAPPED = module('__torch__.Wrap', {
  training: true,
  backbone: module('__torch__.torch.nn.modules.module.Module', { training: true, bias: tensor(0), weight: tensor(1) }),
  head: module('__torch__.torch.nn.modules.linear.Linear', { weight: tensor(2), bias: tensor(3), training: true }),
});
const CODE: Readonly<Record<string, string>> = {
  '__torch__.py': `class Wrap(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  backbone : __torch__.torch.nn.modules.module.Module
  head : __torch__.torch.nn.modules.linear.Linear
`,
  '__torch__/torch/nn/modules/module.py': `class Module(Module):
  __parameters__ = ["bias", "weight", ]
  __buffers__ = []
  training : bool
  bias : Tensor
  weight : Tensor
`,
  '__torch__/torch/nn/modules/linear.py': `class Linear(Module):
  __parameters__ = ["weight", "bias", ]
  __buffers__ = []
  weight : Tensor
  bias : Tensor
  training : bool
`,
};

function headerOf(root: Pickled, code: Readonly<Record<string, string | Uint8Array>>, more: readonly Part[] = []) {
  const bytes = zip([
    ...more,
    { name: 'm/data.pkl', data: pickle(root) },
    ...Array.from({ length: 4 }, (_, key) => ({ name: `m/data/${key}`, data: Buffer.alloc(8) })),
    ...Object.entries(code).map(([name, data]) => ({ name: `m/code/${name}`, data: Buffer.from(data), deflated: true })),
    { name: 'm/constants.pkl', data: pickle({ tuple: [] }) },
  ]);
  return readHeader(memorySource(bytes));
}

test('no weight of a module that was loaded and wrapped is lost', async () => {
  const { weights, container } = await headerOf(WRAPPED, CODE);
  expect(container).toBe('torchscript');
  expect(weights.map(({ name }) => name)).toEqual(['backbone.bias', 'backbone.weight', 'head.weight', 'head.bias']);
});

test('a member of an enum is an attribute as any other; only torch gives its value without a tuple', async () => {
  const code = `class Color(Enum):
  RED = "red"
class Painted(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  color : __torch__.Color
  again : __torch__.Color
  weight : Tensor
`;
  const color = { member: '__torch__.Color', value: 'red' };
  const { weights } = await headerOf(module('__torch__.Painted', { color, again: color, weight: tensor(0) }), { '__torch__.py': code });
  expect(weights.map(({ name }) => name)).toEqual(['weight']);
  await expect(headerOf({ member: 'collections.Counter', value: 'red' }, {})).rejects.toThrow('call arguments that are not a tuple');
});

test('torch before 1.4 described modules elsewhere, which torch looks at first: named, and refused beside a pickle', async () => {
  const old = { name: 'm/model.json', data: Buffer.from('{}') };
  await expect(readHeader(memorySource(zip([old, { name: 'm/tensors/0', data: Buffer.alloc(8) }])))).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringContaining('is TorchScript of torch before 1.4'),
  });
  await expect(headerOf(WRAPPED, CODE, [old])).rejects.toMatchObject({
    code: 'CheckpointValidationError',
    message: expect.stringContaining('twice, in data.pkl and in model.json'),
  });
});

describe('what does not say which attributes are parameters is refused', () => {
  const { '__torch__/torch/nn/modules/module.py': _, ...without } = CODE;
  test.each<readonly [string, Readonly<Record<string, string | Uint8Array>>, string]>([
    ['no member', without, 'is not declared, as the archive has no m/code/__torch__/torch/nn/modules/module.py'],
    ['no class', { ...CODE, '__torch__.py': 'op_version_set = 1\n' }, 'the class __torch__.Wrap is not declared in m/code/__torch__.py'],
    ['no text', { ...CODE, '__torch__.py': new Uint8Array([0xff]) }, 'm/code/__torch__.py is not UTF-8'],
    [
      'too much',
      { ...CODE, '__torch__.py': new Uint8Array(20 * 2 ** 20) },
      'the code member m/code/__torch__.py is not read, as it inflates from',
    ],
    ['no code at all', {}, 'is not declared, as the archive has no m/code/__torch__.py'],
  ])('%s', async (__, code, message) => {
    await expect(headerOf(WRAPPED, code)).rejects.toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining(message) });
  });

  test('a root that is no module', async () => {
    await expect(headerOf(dict({ w: tensor(0) }), CODE)).rejects.toMatchObject({
      code: 'CheckpointValidationError',
      message: expect.stringContaining('holds no module of its code'),
    });
  });
});
