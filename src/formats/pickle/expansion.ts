/**
 * Bounds what a walk of the finished values could cost: depth, and the count when shared values are visited each time.
 *
 * Invariant: linear in the table; a value that contains itself counts once on its own path.
 */
import { childrenOf } from '../../model/tree.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import type { PickleLimits } from '../limits-pickle.ts';
import { PickleSyntaxError } from './cursor.ts';

/** Throws `PickleSyntaxError` for a tree that is deeper or expands further than the limits. */
export function checkExpansion(nodes: readonly ValueNode[], root: NodeId, limits: PickleLimits, position: number): void {
  const size = new Float64Array(nodes.length);
  const depth = new Int32Array(nodes.length);
  const path: { id: NodeId; children: readonly NodeId[]; next: number }[] = [{ id: root, children: childrenOf(nodes[root]), next: 0 }];
  size[root] = 1;
  for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
    const child = frame.children[frame.next++];
    if (child === undefined) {
      let total = 1;
      let deepest = 0;
      // By their places: one value may hold nearly all others.
      for (let at = 0; at < frame.children.length; at++) {
        const id = frame.children[at]!;
        total += size[id] ?? 1;
        deepest = Math.max(deepest, depth[id] ?? 0);
      }
      size[frame.id] = total;
      depth[frame.id] = deepest + 1;
      if (deepest >= limits.depth) throw new PickleSyntaxError(`values nested deeper than ${limits.depth}`, position);
      if (total > limits.expanded) throw new PickleSyntaxError(`shared values expand to more than ${limits.expanded}`, position);
      path.pop();
    } else if (size[child] === 0) {
      size[child] = 1;
      const children = childrenOf(nodes[child]);
      if (children.length > 0) path.push({ id: child, children, next: 0 });
      else depth[child] = 1;
    }
  }
}
