/** Attributes that a program sets on a tensor and torch saves with it: no part of its values, so that nothing published holds them. */
import type { NodeId, ValueNode } from './value.ts';

/** Marks of torch's own, true or false, which say of a tensor nothing that its place in a module does not. */
const MARKS: ReadonlySet<ValueNode | undefined> = new Set(['_is_param', '_is_buffer', 'persistent']);
/** Attributes of one tensor that are told of by name, and characters of a name. */
const NAMED = 10;
const NAME_MAX = 100;

/** The step of a path that leads to a value's attributes. */
export const ATTRIBUTES = '__dict__';

/** What a tensor's attributes are, for who is told of them: `attributes of a tensor: scale, tag`; undefined where it has none. */
export function attributesText(nodes: readonly ValueNode[], attributes: NodeId | undefined): string | undefined {
  if (attributes === undefined) return undefined;
  const names: string[] = [];
  let count = 0;
  for (const part of attributeDicts(nodes, attributes)) {
    const node = nodes[part];
    if (typeof node !== 'object' || node?.kind !== 'dict') continue;
    for (const [key, value] of node.entries) {
      if (MARKS.has(nodes[key]) && typeof nodes[value] === 'boolean') continue;
      if (count++ < NAMED) names.push(String(nodes[key]).slice(0, NAME_MAX));
      else break;
    }
  }
  return count === 0 ? undefined : `attributes of a tensor: ${names.join(', ')}${count > NAMED ? ', …' : ''}`;
}

/** Where its attributes are: the instance's dict, or that and its slots. */
export function attributeDicts(nodes: readonly ValueNode[], state: NodeId): readonly NodeId[] {
  const node = nodes[state];
  return typeof node === 'object' && node?.kind === 'tuple' && node.items.length === 2 ? node.items : [state];
}
