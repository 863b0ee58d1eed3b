/**
 * The two dangerous functions that honest checkpoints call: `getattr`, by which pickles below protocol 4 name what lies in a class (nested
 * classes, methods of schedulers), and `functools.partial` among hyper-parameters.
 *
 * Invariant: what comes of such a call is a value and nothing more: no call, no state, no item is ever taken by it, and nothing but
 * `judge` says what may be named so. A call that does not fit leaves its function what it is: dangerous.
 */
import type { NodeId, ValueNode } from '../../model/value.ts';
import { judge } from './globals.ts';

const PARTIAL = { module: 'functools', name: 'partial' } as const;
/** Class of the plain node that a method of an object is: the object, and the name. */
const METHOD = 'method';

type Known = Exclude<ValueNode, null | boolean | number | string>;

export function isLender(module: string, name: string): boolean {
  return (name === 'getattr' && (module === 'builtins' || module === '__builtin__')) || isPartial({ module, name });
}

export interface Borrowed {
  readonly node: Known;
  /** What has been named by way of it, where it is an attribute: for the report. */
  readonly named?: { readonly module: string; readonly name: string };
}

/** What a call of one of the two gives; undefined: it is not of the harmless kind. `args` is the tuple of the arguments. */
export function borrow(nodes: readonly ValueNode[], name: string, args: NodeId): Borrowed | undefined {
  const given = known(nodes, args);
  if (given?.kind !== 'tuple') return undefined;
  const [first, second, ...more] = given.items;
  const owner = known(nodes, first);
  if (name === PARTIAL.name) return second === undefined && isCallable(owner) ? { node: { kind: 'object', ...PARTIAL, args } } : undefined;
  const attribute = second === undefined ? undefined : nodes[second];
  if (typeof attribute !== 'string' || more.length > 0 || (owner?.kind !== 'global' && owner?.kind !== 'object')) return undefined;
  const named = { module: owner.module, name: `${owner.name}.${attribute}` };
  if (judge(named.module, named.name) !== 'unknown') return undefined;
  return { node: owner.kind === 'global' ? { kind: 'global', ...named } : { kind: 'plain', class: METHOD, value: args }, named };
}

/** Whether BUILD gives a partial what its own pickling does: function, arguments, keywords, attributes. */
export function isPartialState(nodes: readonly ValueNode[], state: NodeId): boolean {
  const given = known(nodes, state);
  if (given?.kind !== 'tuple' || given.items.length !== 4) return false;
  const [target, args, keywords, attributes] = given.items.map((item) => known(nodes, item));
  const isDict = (node: Known | undefined, id: NodeId | undefined): boolean => node?.kind === 'dict' || nodes[id ?? -1] === null;
  return isCallable(target) && args?.kind === 'tuple' && isDict(keywords, given.items[2]) && isDict(attributes, given.items[3]);
}

export function isPartial({ module, name }: { readonly module: string; readonly name: string }): boolean {
  return module === PARTIAL.module && name === PARTIAL.name;
}

/** What a partial may be of: what has a name of its own, or an object of an unknown class. Names that are dangerous are so wherever they stand. */
function isCallable(node: Known | undefined): boolean {
  return node?.kind === 'global' || node?.kind === 'object' || (node?.kind === 'plain' && node.class === METHOD);
}

function known(nodes: readonly ValueNode[], id: NodeId | undefined): Known | undefined {
  const node = id === undefined ? undefined : nodes[id];
  return typeof node === 'object' && node !== null ? node : undefined;
}
