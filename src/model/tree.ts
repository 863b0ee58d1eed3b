/** Walks over value trees. None recurses on the input's depth. */
import type { NodeId, ValueNode, ValueTree } from './value.ts';

const NONE: readonly NodeId[] = [];

/** The values that a value holds. */
export function childrenOf(node: ValueNode | undefined): readonly NodeId[] {
  if (typeof node !== 'object' || node === null) return NONE;
  switch (node.kind) {
    case 'list':
    case 'tuple':
    case 'set':
    case 'frozenset':
      return node.items;
    case 'dict':
      return pairsOf(node.entries, node.attributes);
    case 'object':
      return [...some(node.args), ...some(node.kwargs), ...some(node.state), ...(node.items ?? []), ...(node.entries ?? []).flat()];
    case 'plain':
      return [node.value];
    case 'complex':
      return [node.real, node.imag];
    case 'tensor':
      return some(node.attributes);
    default:
      return NONE;
  }
}

/** Characters of a key in a label. */
const LABEL_MAX = 200;

/** A key as it stands in paths and lists of what was left out: a text or a number as it is, a class or a function by its name, anything else by its kind. Two keys may have one label. */
export function keyLabel(nodes: readonly ValueNode[], id: NodeId): string {
  const node = nodes[id];
  if (typeof node !== 'object' || node === null) return String(node).slice(0, LABEL_MAX);
  if (node.kind === 'int') return node.decimal.slice(0, LABEL_MAX);
  // As callbacks of Lightning 1.0 have it for a key.
  if (node.kind === 'global') return `<${`${node.module}.${node.name}`.slice(0, LABEL_MAX)}>`;
  return node.kind === 'float' ? String(node.value) : `<${node.kind}>`;
}

/** Labels of the keys of a tree whose root is a dict; of any other none. */
export function topLevelKeys({ root, nodes }: ValueTree): readonly string[] {
  const top = nodes[root];
  if (typeof top !== 'object' || top === null || top.kind !== 'dict') return [];
  return top.entries.map(([key]) => keyLabel(nodes, key));
}

/** Not by `flat`, which is slow where a dict has very many entries. */
function pairsOf(entries: readonly (readonly [NodeId, NodeId])[], attributes: NodeId | undefined): readonly NodeId[] {
  const ids: NodeId[] = [];
  for (let at = 0; at < entries.length; at++) ids.push(entries[at]![0], entries[at]![1]);
  if (attributes !== undefined) ids.push(attributes);
  return ids;
}

/**
 * The part of a tree that its root reaches, renumbered in the order of the table. A pickle's table also holds what calls were
 * made with: of a state dict of tensors nine tenths.
 */
export function pruned({ root, nodes }: ValueTree): ValueTree {
  const reached = new Uint8Array(nodes.length);
  const pending = [root];
  reached[root] = 1;
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    for (const child of childrenOf(nodes[id])) {
      if (reached[child] === 1) continue;
      reached[child] = 1;
      pending.push(child);
    }
  }
  const places = new Uint32Array(nodes.length);
  const kept: ValueNode[] = [];
  for (let id = 0; id < nodes.length; id++) if (reached[id] === 1) places[id] = kept.push(nodes[id]!) - 1;
  return { root: places[root]!, nodes: kept.map((node) => mapChildren(node, (id) => places[id]!)) };
}

/**
 * How a value stands in the one that holds it: what it is there, and of an item its index, of a value the key that it is under; -1
 * for all others.
 */
export type Place = (id: NodeId, role: Role, at: number) => NodeId;
export type Role = 'item' | 'key' | 'value' | 'attributes' | 'args' | 'kwargs' | 'state' | 'content' | 'real' | 'imag';

/** The value with another one in the place of each that it holds; asked for one after another, in the order of `childrenOf`. */
export function mapChildren(node: ValueNode, place: Place): ValueNode {
  if (typeof node !== 'object' || node === null) return node;
  const all = (ids: readonly NodeId[]): readonly NodeId[] => ids.map((id, index) => place(id, 'item', index));
  const pairs = (entries: readonly (readonly [NodeId, NodeId])[]) =>
    entries.map(([key, value]) => [place(key, 'key', -1), place(value, 'value', key)] as const);
  switch (node.kind) {
    case 'list':
    case 'tuple':
    case 'set':
    case 'frozenset':
      return { ...node, items: all(node.items) };
    case 'dict':
      return {
        ...node,
        entries: pairs(node.entries),
        ...(node.attributes === undefined ? {} : { attributes: place(node.attributes, 'attributes', -1) }),
      };
    case 'object':
      return {
        ...node,
        ...(node.args === undefined ? {} : { args: place(node.args, 'args', -1) }),
        ...(node.kwargs === undefined ? {} : { kwargs: place(node.kwargs, 'kwargs', -1) }),
        ...(node.state === undefined ? {} : { state: place(node.state, 'state', -1) }),
        ...(node.items === undefined ? {} : { items: all(node.items) }),
        ...(node.entries === undefined ? {} : { entries: pairs(node.entries) }),
      };
    case 'plain':
      return { ...node, value: place(node.value, 'content', -1) };
    case 'complex':
      return { ...node, real: place(node.real, 'real', -1), imag: place(node.imag, 'imag', -1) };
    case 'tensor':
      return withMoved(node, place);
    default:
      return node;
  }
}

/** Appends a tree to `nodes`; gives its root there. `base`: what its tensors and storages count from. */
export function graft(nodes: ValueNode[], tree: ValueTree, base: { readonly storages: number; readonly tensors: number }): NodeId {
  const by = nodes.length;
  const moved = (id: NodeId): NodeId => id + by;
  for (const node of tree.nodes) {
    if (typeof node !== 'object' || node === null) nodes.push(node);
    else if (node.kind === 'tensor') nodes.push({ ...withMoved(node, moved), tensor: node.tensor + base.tensors });
    else if (node.kind === 'storage') nodes.push({ kind: 'storage', storage: node.storage + base.storages });
    else nodes.push(mapChildren(node, moved));
  }
  return moved(tree.root);
}

function withMoved(node: Extract<ValueNode, { kind: 'tensor' }>, place: Place): Extract<ValueNode, { kind: 'tensor' }> {
  return node.attributes === undefined ? node : { ...node, attributes: place(node.attributes, 'attributes', -1) };
}

function some(id: NodeId | undefined): readonly NodeId[] {
  return id === undefined ? NONE : [id];
}
