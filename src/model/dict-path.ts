/**
 * Dicts of a value tree by the texts of their keys, and the way from the root to the state dict.
 *
 * Invariant: a text names one entry of a dict at most: the key that is that text, else the integer that is written so.
 */
import type { Header } from './header.ts';
import type { NodeId, ValueNode } from './value.ts';

export type Dict = Extract<ValueNode, { kind: 'dict' }>;

/** A dict, and the entry of it that a path goes through. */
interface Step {
  readonly dict: Dict;
  readonly entry: Dict['entries'][number];
}

/** What names a key: a text itself, an integer in decimal; undefined for any other. */
export function keyText(key: ValueNode | undefined): string | undefined {
  if (typeof key === 'string') return key;
  if (typeof key === 'number') return String(key);
  return typeof key === 'object' && key !== null && key.kind === 'int' ? key.decimal : undefined;
}

export function dictAt(nodes: readonly ValueNode[], id: NodeId | undefined): Dict | undefined {
  const node = id === undefined ? undefined : nodes[id];
  return typeof node === 'object' && node !== null && node.kind === 'dict' ? node : undefined;
}

export function entryOf(nodes: readonly ValueNode[], { entries }: Dict, key: string): Dict['entries'][number] | undefined {
  return entries.find(([id]) => nodes[id] === key) ?? entries.find(([id]) => keyText(nodes[id]) === key);
}

/** From the root to the state dict, the outermost first; none where the root is the state dict. */
export function stepsToStateDict({ tree, stateDictKey, stateDictPath }: Pick<Header, 'tree' | 'stateDictKey' | 'stateDictPath'>): Step[] {
  const steps: Step[] = [];
  if (tree === undefined || stateDictKey === null) return steps;
  let dict = dictAt(tree.nodes, tree.root);
  for (const key of stateDictPath ?? [stateDictKey]) {
    const entry = dict === undefined ? undefined : entryOf(tree.nodes, dict, key);
    if (dict === undefined || entry === undefined) break;
    steps.push({ dict, entry });
    dict = dictAt(tree.nodes, entry[1]);
  }
  return steps;
}
