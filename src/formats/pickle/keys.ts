/**
 * Python's equality of dict keys, as text: two keys are one key where their texts are equal.
 *
 * Invariant: linear in the table (tuples are numbered once, and immutable); no recursion on the depth of the input.
 */
import type { NodeId, ValueNode } from '../../model/value.ts';

/** Bytes of memory that a number, and a text, take here. */
const INTERNED = 160;
const KNOWN = 80;

/** What Python cannot hash is refused by `fail`; objects equal only themselves. */
export function keyReader(
  nodes: readonly ValueNode[],
  fail: (message: string) => never,
  charge: (bytes: number) => void,
): (id: NodeId) => string {
  const numbers = new Map<string, number>();
  const known = new Map<NodeId, string>();
  const intern = (text: string): string => {
    let number = numbers.get(text);
    if (number === undefined) {
      charge(INTERNED);
      numbers.set(text, (number = numbers.size));
    }
    return `t${number}`;
  };
  /** Its text, or the parts that have to be known before. */
  const attempt = (id: NodeId): string | readonly NodeId[] => {
    const node = nodes[id] ?? null;
    if (typeof node === 'string') return `s${node}`;
    if (typeof node === 'number' || typeof node === 'boolean') return `n${Number(node)}`;
    if (node === null) return 'null';
    switch (node.kind) {
      case 'float':
        // NaN equals nothing, and Python finds it in a dict by identity.
        return node.value === 'nan' ? `i${id}` : `n${node.value === '-0' ? 0 : integral(node.value)}`;
      case 'int':
        return `n${node.decimal}`;
      case 'bytes':
        return `b${node.base64}`;
      case 'global':
        return `g${node.module} ${node.name}`;
      case 'list':
      case 'dict':
      case 'set':
      case 'bytearray':
        return fail(`a ${node.kind} is no dict key`);
      case 'tuple':
      case 'frozenset':
      case 'plain':
      case 'complex': {
        const parts = node.kind === 'plain' ? [node.value] : node.kind === 'complex' ? [node.real, node.imag] : node.items;
        const missing = parts.filter((part) => !known.has(part));
        if (missing.length > 0) return missing;
        const texts = parts.map((part) => known.get(part) ?? '');
        const lengths = (node.kind === 'frozenset' ? texts.toSorted() : texts).map((text) => `${text.length}:${text}`);
        return intern(`${node.kind}${node.kind === 'plain' ? ` ${node.class} ` : ''}${lengths.join('')}`);
      }
      default:
        return `i${id}`;
    }
  };
  return (id) => {
    const first = attempt(id);
    if (typeof first === 'string') return first;
    const pending: NodeId[] = [id];
    const opened = new Set<NodeId>();
    for (let at = pending.at(-1); at !== undefined; at = pending.at(-1)) {
      const text = known.get(at) ?? attempt(at);
      if (typeof text === 'string') {
        charge(KNOWN);
        known.set(at, text);
        pending.pop();
        continue;
      }
      // A tuple may reach itself through a list only, and a list is no key.
      if (opened.has(at)) return fail('a dict key that contains itself');
      opened.add(at);
      for (const part of text) pending.push(part);
    }
    return known.get(id) ?? '';
  };
}

/** A float with an integral value above 2^53 equals the int of the same digits. */
function integral(value: number | 'inf' | '-inf'): string {
  return typeof value === 'number' && Number.isInteger(value) ? BigInt(value).toString() : String(value);
}
