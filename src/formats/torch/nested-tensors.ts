/**
 * Tensors inside the values of a state dict that are none themselves: in dicts, lists, tuples and objects, however deep. A state dict is
 * flat, so none of them is a weight, and each is lost to whoever is not told of it.
 *
 * Invariant: linear in the tree over all values together; a tensor that several values hold is counted with the first of them.
 */
import type { Tensor } from '../../model/header.ts';
import { childrenOf } from '../../model/tree.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';

export interface NestedTensors {
  readonly count: number;
  /** Why the first that has none has no plain dense form. */
  readonly unsupported?: string;
}

/** A counter for the values of one state dict, asked for one after another; a value that is asked for again gives the same. */
export function nestedTensors(nodes: readonly ValueNode[], tensors: readonly Tensor[]): (value: NodeId) => NestedTensors {
  const counted = new Map<NodeId, NestedTensors>();
  const met = new Set<NodeId>();
  return (value) => {
    const known = counted.get(value);
    if (known !== undefined) return known;
    let count = 0;
    let unsupported: string | undefined;
    const pending = [value];
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      const node = nodes[id];
      if (typeof node !== 'object' || node === null || met.has(id)) continue;
      met.add(id);
      if (node.kind === 'tensor') {
        count++;
        unsupported ??= tensors[node.tensor]?.unsupported;
      }
      for (const child of childrenOf(node)) pending.push(child);
    }
    const found = { count, ...(unsupported === undefined ? {} : { unsupported }) };
    counted.set(value, found);
    return found;
  };
}
