/** Module trees that share: names as `state_dict()` gives them, and no more work than what is told of them. */
import { expect, test } from '@jest/globals';
import { findModuleWeights } from '../../../src/formats/torch/torchscript.ts';
import type { NodeId, ValueNode } from '../../../src/model/value.ts';

/** A table of modules; `looked` counts how often attributes were looked through. */
function moduleTable() {
  const nodes: ValueNode[] = [];
  const looked = { times: 0 };
  const add = (node: ValueNode): NodeId => nodes.push(node) - 1;
  const tensor = (): NodeId => add({ kind: 'tensor', tensor: 0 });
  const module = (slots: Readonly<Record<string, NodeId>>): NodeId => {
    const entries = Object.entries(slots).map(([name, value]) => [add(name), value] as const);
    const state = add({
      kind: 'dict',
      get entries() {
        looked.times++;
        return entries;
      },
    });
    return add({ kind: 'object', module: '__torch__', name: 'M', args: add({ kind: 'tuple', items: [] }), state });
  };
  const find = (root: NodeId) => findModuleWeights({ root, nodes }, [], 'file:///m.pt', []);
  return { nodes, looked, add, tensor, module, find };
}

const times = <T>(count: number, of: (index: number) => T, prefix = 'm'): Readonly<Record<string, T>> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`${prefix}${index}`, of(index)]));

test('the tensors of a module, then those of its modules in their order; what stands behind `training` is not a state', () => {
  const { add, tensor, module, find } = moduleTable();
  const leaf = module({ weight: tensor(), training: add(true), cache: tensor() });
  const root = module({ first: module({ inner: leaf, own: tensor() }), bias: tensor(), second: leaf });
  const { weights, findings } = find(root);
  expect(weights.map(({ name }) => name)).toEqual(['bias', 'first.own', 'first.inner.weight', 'second.weight']);
  expect(findings).toContainEqual(
    expect.objectContaining({ message: '2 tensors are plain attributes, which state_dict() leaves out: first.inner.cache, second.cache' }),
  );
});

test('attributes of a shared module are looked through once', () => {
  const { looked, tensor, module, find } = moduleTable();
  const leaf = module({ w: tensor() });
  const middle = module(times(30, () => leaf));
  expect(find(module(times(30, () => middle))).weights).toHaveLength(900);
  expect(looked.times).toBe(3);
});

test.each([
  ['parameters', {}],
  ['plain attributes', { training: 0 }],
])('%s of shared modules are at most as many as of other files', (_, before) => {
  const { add, tensor, module, find } = moduleTable();
  add(true);
  const leaf = module({ ...before, ...times(100, tensor, 'w') });
  const middle = module(times(100, () => leaf));
  expect(() => find(module({ w: tensor(), ...times(100, () => middle) }))).toThrow(
    expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringContaining('more than 600000 tensors') }),
  );
});

test('shared modules are counted each time', () => {
  const { module, tensor, find } = moduleTable();
  const leaf = module({});
  const middle = module(times(1001, () => leaf));
  expect(() => find(module({ w: tensor(), ...times(1000, () => middle) }))).toThrow('more than 1000000 modules');
});

test('a module that contains itself further down is refused', () => {
  const { nodes, add, tensor, module, find } = moduleTable();
  const slots: (readonly [NodeId, NodeId])[] = [];
  const inner = add({ kind: 'object', module: '__torch__', name: 'M', args: 0, state: add({ kind: 'dict', entries: slots }) });
  const root = module({ w: tensor(), a: inner });
  slots.push([add('b'), root]);
  expect(nodes[root]).toMatchObject({ kind: 'object' });
  expect(() => find(root)).toThrow('the module "a.b" contains itself');
});
