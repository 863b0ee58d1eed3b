import { expect, test } from '@jest/globals';
import { keyLabel, topLevelKeys } from '../../src/model/tree.ts';
import type { ValueNode, ValueTree } from '../../src/model/value.ts';

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
