/**
 * The object that was flattened into a distributed checkpoint, built again from names and paths.
 *
 * Invariant: as torch builds it (`set_element`): a text step leads into a dict, a number into a list, whose missing positions are
 * None; linear in the entries, lists bounded.
 */
import type { CheckpointLoadError } from '../../errors.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import type { Step } from './metadata.ts';

/** Positions of all lists together: torch fills those that nothing stands at. */
const POSITIONS_MAX = 10_000_000;

type Branch =
  | { readonly kind: 'dict'; readonly entries: Map<string, Branch | NodeId> }
  | { readonly kind: 'list'; readonly items: Map<number, Branch | NodeId> };

export interface Leaf {
  readonly path: readonly Step[];
  readonly leaf: NodeId;
}

/** Adds the object to `nodes`; gives its root, a dict. */
export function buildTree(nodes: ValueNode[], leaves: readonly Leaf[], bad: (what: string) => CheckpointLoadError): NodeId {
  const root: Branch = { kind: 'dict', entries: new Map() };
  let positions = 0;
  for (const { path, leaf } of leaves) {
    let branch: Branch = root;
    for (const [depth, step] of path.entries()) {
      const next = path[depth + 1];
      const shown = JSON.stringify(path.join('.').slice(0, 200));
      // A number in a dict, or a text in a list: two paths disagree on what stands there.
      if ((branch.kind === 'dict') !== (typeof step === 'string'))
        throw bad(`the path ${shown} leads into a ${branch.kind} by ${typeof step}`);
      const children = (branch.kind === 'dict' ? branch.entries : branch.items) as Map<Step, Branch | NodeId>;
      const held = children.get(step);
      if (next === undefined) {
        if (held !== undefined) throw bad(`two entries have the path ${shown}`);
        children.set(step, leaf);
      } else if (held === undefined) {
        const fresh: Branch = typeof next === 'string' ? { kind: 'dict', entries: new Map() } : { kind: 'list', items: new Map() };
        children.set(step, fresh);
        branch = fresh;
      } else if (typeof held === 'number') throw bad(`the path ${shown} leads through an entry`);
      else branch = held;
      if (typeof step === 'number' && step > POSITIONS_MAX) throw bad(`the path ${shown} has the position ${step}`);
    }
  }
  const none = nodes.push(null) - 1;
  // As deep as the longest path, which is bounded.
  const add = (branch: Branch): NodeId => {
    if (branch.kind === 'dict') {
      const entries = [...branch.entries].map(
        ([key, value]) => [nodes.push(key) - 1, typeof value === 'number' ? value : add(value)] as const,
      );
      return nodes.push({ kind: 'dict', entries }) - 1;
    }
    let length = 0;
    for (const position of branch.items.keys()) length = Math.max(length, position + 1);
    positions += length;
    if (positions > POSITIONS_MAX) throw bad(`its lists have more than ${POSITIONS_MAX} positions`);
    const items = Array.from({ length }, () => none);
    for (const [position, value] of branch.items) items[position] = typeof value === 'number' ? value : add(value);
    return nodes.push({ kind: 'list', items }) - 1;
  };
  return add(root);
}
