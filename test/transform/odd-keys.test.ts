/** Keys that are not texts, which Python takes: records and manifests name them, and none is lost for another. */
import { expect, test } from '@jest/globals';
import { layoutOutputs } from '../../src/formats/outputs.ts';
import { composeTree } from '../../src/formats/torch/compose.ts';
import type { Plan } from '../../src/model/plan.ts';
import type { NodeId, ValueNode, ValueTree } from '../../src/model/value.ts';
import { keepTrainingState } from '../../src/transform/keep-training-state.ts';
import { otherContent } from '../../src/transform/left-out.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { trainingProgress } from '../../src/transform/training-progress.ts';
import { headerOf } from '../support/headers.ts';

const TUPLE: ValueNode = { kind: 'tuple', items: [] };
const FLOAT: ValueNode = { kind: 'float', value: 0.5 };

/** A dict; gives its node's id. */
function dictIn(nodes: ValueNode[], entries: readonly (readonly [ValueNode, ValueNode])[]): NodeId {
  const pairs = entries.map(([key, value]) => [nodes.push(key) - 1, nodes.push(value) - 1] as const);
  return nodes.push({ kind: 'dict', entries: pairs }) - 1;
}

function treeOf(...entries: readonly (readonly [ValueNode, ValueNode])[]): ValueTree {
  const nodes: ValueNode[] = [];
  return { root: dictIn(nodes, entries), nodes };
}

const SHAPES = { weight: ['F32', [2]] } as const;
const planOf = (tree: ValueTree): Plan => {
  const header = headerOf(SHAPES, { tree });
  return keepTrainingState(header, selectWeights(header, { skipUnsupported: false }));
};

test('of a header', () => {
  const header = headerOf(SHAPES, { tree: treeOf([TUPLE, 1], [FLOAT, 2], ['model_state_dict', 3]) });
  expect(otherContent(header)).toEqual(['<tuple>', '0.5']);
  expect(planOf(header.tree!).dropped).toEqual([
    { what: '<tuple>', reason: 'its key is not text' },
    { what: '0.5', reason: 'its key is not text' },
  ]);
});

test('of a history of metrics', () => {
  const historyOf = (...entries: readonly (readonly [ValueNode, ValueNode])[]): unknown => {
    const nodes: ValueNode[] = [];
    const history = dictIn(nodes, entries);
    const root = nodes.push({ kind: 'dict', entries: [[nodes.push('metrics_history') - 1, history]] }) - 1;
    return trainingProgress(headerOf(SHAPES, { tree: { root, nodes } }))['metrics_history'];
  };
  expect(historyOf([FLOAT, 1], [TUPLE, 2])).toEqual({ '0.5': 1, '<tuple>': 2 });
  // JSON has no place for both.
  expect(historyOf([TUPLE, 1], [TUPLE, 2])).toBeUndefined();
});

test('of a plan, whoever has made it', () => {
  const trainingState = treeOf([TUPLE, 1], [{ kind: 'tuple', items: [] }, 2], ['epoch', 3]);
  const plan: Plan = { ...planOf(treeOf(['model_state_dict', 1])), trainingState, stateTensors: [] };
  const { tree } = composeTree(plan, 'lightning');
  const top = tree.nodes[tree.root] as Extract<ValueNode, { kind: 'dict' }>;
  expect(top.entries.filter(([key]) => typeof tree.nodes[key] === 'object').map(([, value]) => tree.nodes[value])).toEqual([1, 2]);
  expect(composeTree(plan, 'state_dict').dropped.map(({ what }) => what)).toEqual(['<tuple>', "<tuple>'", 'epoch']);
  const outputs = layoutOutputs(plan, { format: 'safetensors', name: 'a.safetensors', shardSize: null, trainingState: true });
  expect(outputs.dropped.map(({ what }) => what)).toEqual(['<tuple>', '<tuple>', 'epoch']);
});
