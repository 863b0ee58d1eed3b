/**
 * Python's equality of dict keys, as text: two keys are one key where their texts are equal.
 *
 * Invariant: linear in the table, however often a value is part of a key or a key of a dict (each is gone through once, and is
 * immutable); its texts are short; no recursion on the depth of the input.
 */
import { createHash } from 'node:crypto';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { WEIGHTS } from './weight.ts';

/** Bytes of memory that a number, and a text, take here, beside the characters. */
const INTERNED = 160;
const KNOWN = 80;
const CHARACTER = 2;
/** Characters: a digest stands for what is longer. A `Map` lays long texts of one length side by side, whatever they hold. */
const LONG = 1024;
/** Characters that are digested at once: they are copied for it. */
const STEP = 2 ** 18;

/** Whether the reader tells a digest of a text: nobody else compares such ones. */
export function isLong(text: string): boolean {
  return text.length > LONG;
}

/** What Python cannot hash is refused by `fail`; objects equal only themselves. */
export function keyReader(
  nodes: readonly ValueNode[],
  fail: (message: string) => never,
  charge: (bytes: number) => void,
): (id: NodeId) => string {
  /** Of texts of parts. */
  const numbers = new Map<string, number>();
  const parts = new Map<NodeId, number>();
  /** Texts that took long to tell. */
  const known = new Map<NodeId, string>();
  const numberOf = (text: string): number => {
    let number = numbers.get(text);
    if (number === undefined) {
      charge(INTERNED + CHARACTER * text.length);
      numbers.set(text, (number = numbers.size));
    }
    return number;
  };
  const keep = (id: NodeId, text: string): string => {
    charge(KNOWN + CHARACTER * text.length);
    known.set(id, text);
    return text;
  };
  const leaf = (id: NodeId, kind: string, text: string): string => (isLong(text) ? keep(id, digestOf(kind, text)) : kind + text);
  /** Its text, or the parts that have to be known before. */
  const attempt = (id: NodeId): string | readonly NodeId[] => {
    const text = known.get(id);
    if (text !== undefined) return text;
    const node = nodes[id] ?? null;
    if (typeof node === 'string') return leaf(id, 's', node);
    if (typeof node === 'number' || typeof node === 'boolean') return `n${Number(node)}`;
    if (node === null) return 'null';
    switch (node.kind) {
      case 'float':
        // NaN equals nothing, and Python finds it in a dict by identity.
        return node.value === 'nan' ? `i${id}` : `n${node.value === '-0' ? 0 : integral(node.value)}`;
      case 'int':
        return leaf(id, 'n', node.decimal);
      case 'bytes':
        return leaf(id, 'b', node.base64);
      case 'global':
        return leaf(id, 'g', `${node.module} ${node.name}`);
      case 'list':
      case 'dict':
      case 'set':
      case 'bytearray':
        return fail(`a ${node.kind} is not a dict key`);
      case 'tuple':
      case 'frozenset':
      case 'plain':
      case 'complex': {
        const items = node.kind === 'plain' ? [node.value] : node.kind === 'complex' ? [node.real, node.imag] : node.items;
        const missing = items.filter((part) => !parts.has(part));
        if (missing.length > 0) return missing;
        const held = items.map((part) => parts.get(part)!);
        if (node.kind === 'frozenset') held.sort((a, b) => a - b);
        const whole = `${held.join()} ${node.kind === 'plain' ? node.class : ''}`;
        return keep(id, `t${numberOf(isLong(whole) ? digestOf(node.kind, whole) : `${node.kind} ${whole}`)}`);
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
    for (;;) {
      const at = pending.at(-1)!;
      const text = attempt(at);
      if (typeof text === 'string') {
        pending.pop();
        if (pending.length === 0) return text;
        if (!parts.has(at)) {
          charge(KNOWN);
          parts.set(at, numberOf(text));
        }
        continue;
      }
      // A tuple may reach itself through a list only, and a list is not a key.
      if (opened.has(at)) return fail('a dict key that contains itself');
      opened.add(at);
      charge(WEIGHTS.growing * text.length);
      for (const part of text) pending.push(part);
    }
  };
}

/** Two texts of one kind have one digest where they are equal, and nowhere else: no two with one SHA-256 are known. */
function digestOf(kind: string, text: string): string {
  const hash = createHash('sha256');
  for (let at = 0; at < text.length; at += STEP) hash.update(text.slice(at, at + STEP), 'utf16le');
  return `h${kind} ${hash.digest('base64')}`;
}

/** A float with an integral value above 2^53 equals the int of the same digits. */
function integral(value: number | 'inf' | '-inf'): string {
  return typeof value === 'number' && Number.isInteger(value) ? BigInt(value).toString() : String(value);
}
