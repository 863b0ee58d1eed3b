/**
 * What a module's state dict says of its parts beside the tensors (`_metadata`: versions, by the part's path) under new names.
 *
 * Invariant: a part has the path under which its tensors are. Pure.
 */
import { dictAt } from '../model/dict-path.ts';
import type { ValueNode, ValueTree } from '../model/value.ts';

const MODULE_METADATA = '_metadata';

export interface Prefixes {
  readonly stripPrefix?: string | undefined;
  readonly addPrefix?: string | undefined;
}

/** A tensor's name without the prefix, where it begins with it, and with the other one in front. */
export function withPrefixes(name: string, { stripPrefix, addPrefix = '' }: Prefixes): string {
  const rest = stripPrefix !== undefined && name.startsWith(stripPrefix) ? name.slice(stripPrefix.length) : name;
  return addPrefix + rest;
}

/** Attributes of a state dict whose tensors are renamed so. */
export function attributesWithPrefixes(attributes: ValueTree, prefixes: Prefixes): ValueTree {
  const nodes: ValueNode[] = [...attributes.nodes];
  const top = dictAt(nodes, attributes.root);
  const entry = top?.entries.find(([key]) => nodes[key] === MODULE_METADATA);
  const parts = dictAt(nodes, entry?.[1]);
  if (entry === undefined || parts === undefined || parts.entries.some(([key]) => typeof nodes[key] !== 'string')) return attributes;
  const paths = parts.entries.map(([key, value]) => {
    const before = nodes[key] as string; // As has just been seen of all.
    return { before, after: pathWithPrefixes(before, prefixes), value };
  });
  // Of a wrapper and what it wraps, which takes its path, the longer one has the tensors.
  const longest = new Map<string, string>();
  for (const { before, after } of paths) if (before.length >= (longest.get(after)?.length ?? 0)) longest.set(after, before);
  const entries = paths
    .filter(({ before, after }) => longest.get(after) === before)
    .map(({ after, value }) => [nodes.push(after) - 1, value] as const);
  // The dict may stand elsewhere, too.
  const renamed = nodes.push({ ...parts, entries }) - 1;
  nodes[attributes.root] = { ...top!, entries: top!.entries.map((each) => (each === entry ? ([each[0], renamed] as const) : each)) };
  return { root: attributes.root, nodes };
}

/** Of a module; an empty text is the root. */
function pathWithPrefixes(path: string, prefixes: Prefixes): string {
  const name = withPrefixes(path === '' ? '' : `${path}.`, prefixes);
  return name.slice(0, Math.max(0, name.lastIndexOf('.')));
}
