import { expect, test } from '@jest/globals';
import { childrenOf, graft, keyLabel, mapChildren, topLevelKeys } from '../../src/model/tree.ts';
import type { NodeId, ValueNode, ValueTree } from '../../src/model/value.ts';

test.each<[ValueNode | undefined, string]>([
  ['epoch', 'epoch'],
  [7, '7'],
  [true, 'true'],
  [null, 'null'],
  [{ kind: 'int', decimal: '9007199254740993' }, '9007199254740993'],
  [{ kind: 'float', value: 0.5 }, '0.5'],
  [{ kind: 'float', value: 'nan' }, 'nan'],
  [{ kind: 'tuple', items: [] }, '<tuple>'],
  [{ kind: 'bytes', base64: '' }, '<bytes>'],
  [{ kind: 'global', module: 'lightning.callbacks', name: 'Saver' }, '<lightning.callbacks.Saver>'],
  [{ kind: 'global', module: 'm', name: 'x'.repeat(1000) }, `<m.${'x'.repeat(198)}>`],
  ['x'.repeat(1000), 'x'.repeat(200)],
])('the label of %j', (node, label) => {
  expect(keyLabel(node === undefined ? [] : [node], 0)).toBe(label);
});

test('the keys of a top level that is a dict', () => {
  const tree: ValueTree = {
    root: 0,
    nodes: [
      {
        kind: 'dict',
        entries: [
          [1, 3],
          [2, 3],
        ],
      },
      'a',
      { kind: 'tuple', items: [] },
      1,
    ],
  };
  expect(topLevelKeys(tree)).toEqual(['a', '<tuple>']);
  expect(topLevelKeys({ ...tree, root: 2 })).toEqual([]);
});

/** A value of every kind that holds others, which are named by where they stand. */
const HOLDERS: readonly ValueNode[] = [
  { kind: 'list', items: [1, 2] },
  { kind: 'frozenset', items: [3] },
  {
    kind: 'dict',
    entries: [
      [1, 2],
      [3, 4],
    ],
    attributes: 5,
  },
  { kind: 'object', module: 'm', name: 'C', args: 1, kwargs: 2, state: 3, items: [4, 5], entries: [[6, 7]] },
  { kind: 'object', module: 'm', name: 'C' },
  { kind: 'plain', class: 'torch.Size', value: 1 },
  { kind: 'complex', real: 1, imag: 2 },
  { kind: 'tensor', tensor: 9 },
  'text',
  null,
];

test.each(HOLDERS)('every value that %j holds has its place taken, in order', (node) => {
  const asked: NodeId[] = [];
  const moved = mapChildren(node, (id) => (asked.push(id), id + 10));
  expect(asked).toEqual(childrenOf(node));
  expect(childrenOf(moved)).toEqual(asked.map((id) => id + 10));
  expect(mapChildren(moved, (id) => id - 10)).toEqual(node);
});

test('a tree is added to a table, its tensors and storages counted behind those that are there', () => {
  const nodes: ValueNode[] = ['there'];
  const tree: ValueTree = {
    root: 0,
    nodes: [
      { kind: 'list', items: [1, 2] },
      { kind: 'tensor', tensor: 1 },
      { kind: 'storage', storage: 2 },
    ],
  };
  expect(graft(nodes, tree, { tensors: 10, storages: 20 })).toBe(1);
  expect(nodes.slice(1)).toEqual([
    { kind: 'list', items: [2, 3] },
    { kind: 'tensor', tensor: 11 },
    { kind: 'storage', storage: 22 },
  ]);
});
