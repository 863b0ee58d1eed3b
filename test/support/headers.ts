/** Headers, targets and value trees made in code, for tests of what is planned on them. */
import type { Dtype } from '../../src/model/dtype.ts';
import { tensorBytes } from '../../src/model/dtype.ts';
import type { Header, Tensor } from '../../src/model/header.ts';
import type { Target } from '../../src/model/target.ts';
import type { ValueNode, ValueTree } from '../../src/model/value.ts';
import { targetOfHeader } from '../../src/transform/target.ts';

export type Shapes = Readonly<Record<string, readonly [Dtype, readonly number[]]>>;

/** A header whose tensors lie one after another in one file. */
export function headerOf(shapes: Shapes, more: Partial<Header> = {}, uri = 'file:///source.ckpt'): Header {
  const tensors = Object.values(shapes).map(([dtype, shape], storage): Tensor => ({ dtype, shape, storage, offset: 0 }));
  const storages = tensors.map(({ dtype, shape }) => ({
    file: 0,
    location: { kind: 'range' as const, offset: 0 },
    length: tensorBytes(dtype, shape),
  }));
  return {
    format: 'pytorch',
    container: 'zip',
    files: [{ uri, size: 1, identity: uri }],
    storages,
    tensors,
    weights: Object.keys(shapes).map((name, tensor) => ({ name, tensor })),
    nonTensors: [],
    stateDictKey: 'model_state_dict',
    training: {
      epoch: 7,
      global_step: 99,
      has_optimizer: true,
      has_scheduler: false,
      has_callbacks: false,
      has_loops: false,
      has_hyper_parameters: false,
      lightning_version: null,
    },
    metadata: {},
    globals: [],
    findings: [],
    ...more,
  };
}

export function targetOf(shapes: Shapes): Target {
  return targetOfHeader(headerOf(shapes, {}, 'file:///target.ckpt'), 'file:///target.ckpt');
}

/** A value as a pickle would describe it; `{__object__: {...}}` is an instance of an unknown class with that state. */
export function treeOf(value: unknown): ValueTree {
  const nodes: ValueNode[] = [];
  const add = (each: unknown): number => {
    if (each === null || typeof each === 'number' || typeof each === 'string' || typeof each === 'boolean') return nodes.push(each) - 1;
    if (Array.isArray(each)) return nodes.push({ kind: 'list', items: each.map(add) }) - 1;
    if (typeof each === 'object' && '__object__' in each)
      return nodes.push({ kind: 'object', module: 'some.module', name: 'Thing', state: add(each.__object__) }) - 1;
    const entries = Object.entries(each as object).map(([key, item]) => [add(key), add(item)] as const);
    return nodes.push({ kind: 'dict', entries }) - 1;
  };
  return { root: add(value), nodes };
}
