/**
 * The table of nodes that a pickle is read into.
 *
 * Invariant: every node is charged before it is there, and dropped again only where nothing can refer to it.
 */
import type { NodeId, ValueNode } from '../../model/value.ts';
import { weigh, type Budget } from './weight.ts';

/** A node that has a kind. */
type Composite = Exclude<ValueNode, null | boolean | number | string>;

export interface Table {
  readonly nodes: ValueNode[];
  readonly add: (node: ValueNode) => NodeId;
  /** A node by its kind; None, booleans, numbers and texts are atoms. */
  readonly look: (id: NodeId) => Composite | { readonly kind: 'atom' };
  /** Says that something lasting may refer to any node that there is: none of them is ever dropped. */
  readonly keepAll: () => void;
  /** Says that `tuple`, the newest node, was opened by a mark when the table had `from` nodes: what was made for it stands in between. */
  readonly tupleMade: (tuple: NodeId, from: number) => void;
  /** Drops a tuple and what was made for it, where it is the newest node and nothing but the tuple refers to any of them. */
  readonly dropTuple: (id: NodeId) => void;
}

const ATOM = { kind: 'atom' } as const;

export function openTable(nodes: ValueNode[], { charge }: Budget): Table {
  /** Nodes below this index may be referred to by the memo, by older nodes, or by who keeps one node for a value that is common. */
  let kept = nodes.length;
  /** The last tuple that a mark opened, and the length of the table at that mark. */
  let tuple = -1;
  let tupleFrom = 0;
  return {
    nodes,
    add: (node) => {
      charge(weigh(node));
      return nodes.push(node) - 1;
    },
    look: (id) => {
      const node = nodes[id];
      return typeof node === 'object' && node !== null ? node : ATOM;
    },
    keepAll: () => void (kept = nodes.length),
    tupleMade: (id, from) => {
      tuple = id;
      tupleFrom = from;
    },
    dropTuple: (id) => {
      if (id !== tuple || id !== nodes.length - 1 || tupleFrom < kept) return;
      nodes.length = tupleFrom;
      // The next node of that number is another.
      tuple = -1;
    },
  };
}

type Open = { items?: NodeId[]; entries?: (readonly [NodeId, NodeId])[]; [other: string]: unknown };

/** The table's own nodes while they are still being filled: readonly for everyone else. */
export function opened(node: object): Open {
  return node as Open;
}
