/**
 * The state dict by the key that a user names it with: `params_ema`, or `app.model` for a dict within a dict.
 *
 * Invariant: of the keys at a level the longest one that the path begins with is taken, so that a key with dots in it is reached
 * as it stands, and one path names one value.
 */
import { dictAt, entryOf, keyText, type Dict } from '../../model/dict-path.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';

/** Characters of a path; module paths of large models have some 200. Each dot of it may cost a look at what stands before. */
export const PATH_MAX = 1000;
/** How people name it. */
export const KEY_OPTION = '`state_dict_key` of the source (`target_state_dict_key` for a target, `--state-dict-key` of a command)';
/** Paths that an error names. */
const NAMED = 10;
/** What optimizers and schedulers keep are tensors, too, and never weights. */
const NO_WEIGHTS = /optim|sched/i;

/** How far a path leads. */
export interface Followed {
  /** Keys that are there, the outermost first. */
  readonly keys: readonly string[];
  /** The value under them. */
  readonly value: NodeId;
  /** What of the path leads nowhere from there. */
  readonly rest?: string;
}

/** Follows keys joined by dots from the root, which the empty path names. */
export function followKeys({ root, nodes }: ValueTree, path: string): Followed {
  const keys: string[] = [];
  let value = root;
  let rest: string | undefined = path === '' ? undefined : path;
  while (rest !== undefined) {
    const dict = dictAt(nodes, value);
    const key = dict === undefined ? undefined : longestKey(nodes, dict, rest);
    const entry = key === undefined ? undefined : entryOf(nodes, dict!, key);
    if (key === undefined || entry === undefined) return { keys, value, rest };
    keys.push(key);
    value = entry[1];
    rest = key.length === rest.length ? undefined : rest.slice(key.length + 1);
  }
  return { keys, value };
}

function longestKey(nodes: readonly ValueNode[], { entries }: Dict, path: string): string | undefined {
  const texts = new Set(entries.map(([key]) => keyText(nodes[key])));
  for (let end = path.length; end >= 0; end = end === 0 ? -1 : path.lastIndexOf('.', end - 1)) {
    const key = path.slice(0, end);
    if (texts.has(key)) return key;
  }
  return undefined;
}

/** Paths of the dicts that tensors lie in, those near the root first; where there is none, the root's own, if tensors lie there. */
export function keysWithTensors(tree: ValueTree): readonly string[] {
  const { root, nodes } = tree;
  const found: { readonly id: NodeId; readonly path: string }[] = [];
  const met = new Set<NodeId>([root]);
  const open = [{ id: root, path: '' }];
  for (let at = 0; at < open.length && found.length < NAMED; at++) {
    const { id, path } = open[at]!;
    const entries = dictAt(nodes, id)?.entries ?? [];
    if (id !== root && holdsTensor(nodes, entries)) found.push({ id, path });
    for (const [key, value] of entries) {
      const text = keyText(nodes[key]);
      if (text === undefined || NO_WEIGHTS.test(text) || met.has(value) || dictAt(nodes, value) === undefined) continue;
      const below = id === root ? text : `${path}.${text}`;
      if (below.length > PATH_MAX) continue;
      met.add(value);
      open.push({ id: value, path: below });
    }
  }
  // Another value may stand under the same text.
  const named = found.filter(({ id, path }) => followKeys(tree, path).value === id).map(({ path }) => path);
  return named.length === 0 && holdsTensor(nodes, dictAt(nodes, root)?.entries ?? []) ? [''] : named;
}

function holdsTensor(nodes: readonly ValueNode[], entries: Dict['entries']): boolean {
  return entries.some(([, value]) => {
    const node = nodes[value];
    return typeof node === 'object' && node !== null && node.kind === 'tensor';
  });
}

/** What to do where the tensors lie under these keys: a sentence behind another, or nothing. */
export function keyAdvice(keys: readonly string[]): string {
  if (keys.length === 0) return '';
  return keys[0] === ''
    ? ` Tensors lie at the top level: an empty ${KEY_OPTION} takes them.`
    : ` Tensors are in ${keys.join(', ')}: name the one you mean with ${KEY_OPTION}.`;
}
