/**
 * The stack of a pickle machine, and the marks on it.
 *
 * Invariant: nothing below the innermost mark can be taken, and every height that is reached for the first time is charged.
 */
import type { NodeId, ValueNode } from '../../model/value.ts';
import type { Table } from './table.ts';
import { WEIGHTS, type Budget } from './weight.ts';

export interface Stack {
  readonly pushId: (id: NodeId) => void;
  /** Pushes a new node. */
  readonly push: (node: ValueNode) => void;
  readonly pop: () => NodeId;
  readonly top: () => NodeId;
  readonly isEmpty: () => boolean;
  readonly mark: () => void;
  /** Takes away the innermost mark and what stands above it. */
  readonly dropMark: () => void;
  /** The same, and gives what stood there. */
  readonly popMark: () => NodeId[];
  /** Takes away what is on top: a value, or the innermost mark where nothing stands above it. */
  readonly drop: () => void;
  /** Length of the table at the mark that was taken away last. */
  readonly markedAt: () => number;
  /** What it would be charged to grow for a while by so many values and marks. */
  readonly costOf: (values: number, marks: number) => number;
  /** Says that it did, and was charged. */
  readonly reach: (values: number, marks: number) => void;
}

/** `counted`: nodes of which is counted how often they are pushed. */
export function openStack(
  { nodes, add }: Table,
  { charge }: Budget,
  fail: (message: string) => never,
  counted: ReadonlyMap<NodeId, { pushed: number }>,
): Stack {
  const values: NodeId[] = [];
  /** How many marks are open. */
  let open = 0;
  /** Height of the stack at each open mark; behind those stand such of earlier marks: a list that shrinks and grows again takes long. */
  const heights: number[] = [];
  /** Length of the table at each open mark, and likewise. */
  const lengths: number[] = [];
  /** Height of the innermost mark. */
  let floor = 0;
  let markedAt = 0;
  /** The most values and marks that there have been. */
  let highest = 0;
  let deepest = 0;
  const pushId = (id: NodeId): void => {
    values.push(id);
    if (values.length > highest) {
      highest = values.length;
      charge(WEIGHTS.stacked);
    }
    if (counted.size === 0) return;
    const count = counted.get(id);
    if (count !== undefined) count.pushed++;
  };
  const pop = (): NodeId => (values.length > floor ? (values.pop() ?? 0) : fail('the stack is empty'));
  const dropMark = (): void => {
    if (open === 0) fail('no mark on the stack');
    open--;
    const height = heights[open]!;
    floor = open === 0 ? 0 : heights[open - 1]!;
    markedAt = lengths[open]!;
    // A pickle may be made of nothing else, and cutting a list takes long.
    while (values.length > height) values.pop();
  };
  return {
    pushId,
    push: (node) => pushId(add(node)),
    pop,
    top: () => (values.length > floor ? (values[values.length - 1] ?? 0) : fail('the stack is empty')),
    isEmpty: () => values.length === 0 && open === 0,
    mark: () => {
      heights[open] = floor = values.length;
      lengths[open++] = nodes.length;
      if (open > deepest) {
        deepest = open;
        charge(2 * WEIGHTS.stacked);
      }
    },
    dropMark,
    popMark: () => {
      const above = values.slice(floor);
      dropMark();
      return above;
    },
    drop: () => {
      if (values.length === floor && open > 0) dropMark();
      else pop();
    },
    markedAt: () => markedAt,
    costOf: (more, marks) =>
      Math.max(0, values.length + more - highest) * WEIGHTS.stacked + Math.max(0, open + marks - deepest) * 2 * WEIGHTS.stacked,
    reach: (more, marks) => {
      highest = Math.max(highest, values.length + more);
      deepest = Math.max(deepest, open + marks);
    },
  };
}
