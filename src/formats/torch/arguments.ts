/** What torch's calls and persistent ids are given, read as what they must be; anything else is refused with its place. */
import type { NodeId, ValueNode } from '../../model/value.ts';
import { PickleSyntaxError } from '../pickle/cursor.ts';

export type ObjectNode = Exclude<ValueNode, null | boolean | number | string>;

/** Each throws `PickleSyntaxError`, with `what` is read, but for `object`. */
export interface Arguments {
  /** Undefined where nothing is, or a value that is not an object. */
  readonly object: (id: NodeId | undefined) => ObjectNode | undefined;
  /** Items of a tuple, a list or a `torch.Size`. */
  readonly tuple: (id: NodeId | undefined, what: string, position: number) => readonly NodeId[];
  readonly count: (id: NodeId | undefined, what: string, position: number) => number;
  readonly text: (id: NodeId | undefined, what: string, position: number) => string;
}

export function argumentsIn(nodes: readonly ValueNode[]): Arguments {
  const object: Arguments['object'] = (id) => {
    const node = id === undefined ? undefined : nodes[id];
    return typeof node === 'object' && node !== null ? node : undefined;
  };
  return {
    object,
    tuple(id, what, position) {
      let node = object(id);
      if (node?.kind === 'plain' && node.class === 'torch.Size') {
        node = object(node.value);
        if (node?.kind === 'tuple') node = object(node.items[0]);
      }
      if (node?.kind !== 'tuple' && node?.kind !== 'list') throw new PickleSyntaxError(`${what} is not a tuple`, position);
      return node.items;
    },
    count(id, what, position) {
      const value = id === undefined ? undefined : nodes[id];
      if (typeof value !== 'number' || value < 0) throw new PickleSyntaxError(`${what} is not a non-negative integer below 2^53`, position);
      return value;
    },
    text(id, what, position) {
      const value = id === undefined ? undefined : nodes[id];
      if (typeof value !== 'string') throw new PickleSyntaxError(`${what} is not a string`, position);
      return value;
    },
  };
}
