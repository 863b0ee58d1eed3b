/**
 * Reading single values out of what a pickle describes, through the classes that people's hyper-parameters come in: dicts,
 * plain objects, OmegaConf and DotMap containers, pydantic models. Nothing is executed: only the shapes of their states are known.
 */
import type { NodeId, ValueNode, ValueTree } from '../model/value.ts';

/** The value at a path of keys or attributes; undefined where there is none. */
export function valueAt(tree: ValueTree, path: readonly string[], from: NodeId = tree.root): NodeId | undefined {
  let at: NodeId | undefined = from;
  for (const key of path) at = at === undefined ? undefined : fieldOf(tree, at, key);
  return at;
}

/** An int at a path; undefined for anything else, a bool included. */
export function integerAt(tree: ValueTree, path: readonly string[]): number | undefined {
  const id = valueAt(tree, path);
  const node = id === undefined ? undefined : tree.nodes[unwrapped(tree, id)];
  return typeof node === 'number' ? node : undefined;
}

/** Entries of a mapping or attributes of an object, text keys only. */
export function fieldsOf(tree: ValueTree, id: NodeId): ReadonlyMap<string, NodeId> {
  const found = new Map<string, NodeId>();
  for (const entries of entryLists(tree, id)) {
    for (const [key, value] of entries) {
      const name = tree.nodes[key];
      if (typeof name === 'string' && !found.has(name)) found.set(name, value);
    }
  }
  return found;
}

type Entries = readonly (readonly [NodeId, NodeId])[];

/** Where classes keep what they hold: pydantic's, OmegaConf's and DotMap's states. */
const HOLDERS = ['__dict__', '_content', '_map'];

function fieldOf(tree: ValueTree, id: NodeId, name: string): NodeId | undefined {
  for (const entries of entryLists(tree, id)) {
    const found = entries.find(([key]) => tree.nodes[key] === name);
    if (found !== undefined) return found[1];
  }
  return undefined;
}

function entryLists(tree: ValueTree, id: NodeId): readonly Entries[] {
  const node = objectAt(tree, id);
  if (node?.kind === 'dict') return [node.entries];
  if (node?.kind !== 'object') return [];
  const lists: Entries[] = node.entries === undefined ? [] : [node.entries];
  for (const state of statesOf(tree, node.state)) {
    lists.push(state);
    for (const holder of HOLDERS) {
      const held = state.find(([key]) => tree.nodes[key] === holder);
      const inner = held === undefined ? undefined : objectAt(tree, held[1]);
      if (inner?.kind === 'dict') lists.push(inner.entries);
    }
  }
  return lists;
}

/** A state is a dict, or a pair of dicts where the class has slots. */
function statesOf(tree: ValueTree, id: NodeId | undefined): readonly Entries[] {
  const node = id === undefined ? undefined : objectAt(tree, id);
  if (node?.kind === 'dict') return [node.entries];
  if (node?.kind !== 'tuple') return [];
  return node.items.flatMap((item) => {
    const part = objectAt(tree, item);
    return part?.kind === 'dict' ? [part.entries] : [];
  });
}

/** OmegaConf wraps every scalar into a node that keeps it as `_val`. */
function unwrapped(tree: ValueTree, id: NodeId): NodeId {
  const node = objectAt(tree, id);
  if (node?.kind !== 'object') return id;
  return fieldOf(tree, id, '_val') ?? id;
}

function objectAt(tree: ValueTree, id: NodeId): Exclude<ValueNode, null | boolean | number | string> | undefined {
  const node = tree.nodes[id];
  return typeof node === 'object' && node !== null ? node : undefined;
}
