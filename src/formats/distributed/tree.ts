/**
 * The object that was flattened into a distributed checkpoint, built again from names and paths.
 *
 * Invariant: as torch builds it (`set_element`): a text step leads into a dict, a number into a list, whose missing positions are
 * None; linear in the entries, lists bounded.
 */
import type { CheckpointLoadError } from '../../errors.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
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

/** Appends a tree to `nodes`; gives its root there. `base`: what its tensors and storages count from. */
export function graft(nodes: ValueNode[], tree: ValueTree, base: { readonly storages: number; readonly tensors: number }): NodeId {
  const by = nodes.length;
  const moved = (id: NodeId): NodeId => id + by;
  const pair = ([key, value]: readonly [NodeId, NodeId]) => [key + by, value + by] as const;
  for (const node of tree.nodes) {
    if (typeof node !== 'object' || node === null) {
      nodes.push(node);
      continue;
    }
    switch (node.kind) {
      case 'list':
      case 'tuple':
      case 'set':
      case 'frozenset':
        nodes.push({ ...node, items: node.items.map(moved) });
        break;
      case 'dict':
        nodes.push({
          ...node,
          entries: node.entries.map(pair),
          ...(node.attributes === undefined ? {} : { attributes: moved(node.attributes) }),
        });
        break;
      case 'tensor':
        nodes.push({ kind: 'tensor', tensor: node.tensor + base.tensors });
        break;
      case 'storage':
        nodes.push({ kind: 'storage', storage: node.storage + base.storages });
        break;
      case 'plain':
        nodes.push({ ...node, value: moved(node.value) });
        break;
      case 'complex':
        nodes.push({ kind: 'complex', real: moved(node.real), imag: moved(node.imag) });
        break;
      case 'object':
        nodes.push({
          ...node,
          ...(node.args === undefined ? {} : { args: moved(node.args) }),
          ...(node.kwargs === undefined ? {} : { kwargs: moved(node.kwargs) }),
          ...(node.state === undefined ? {} : { state: moved(node.state) }),
          ...(node.items === undefined ? {} : { items: node.items.map(moved) }),
          ...(node.entries === undefined ? {} : { entries: node.entries.map(pair) }),
        });
        break;
      default:
        nodes.push(node);
    }
  }
  return moved(tree.root);
}
