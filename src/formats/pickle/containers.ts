/**
 * Lists, dicts and sets while they are filled: always the one on top of the stack.
 *
 * Invariant: as in Python, a key that equals another one takes its place, and so does an item of a set.
 */
import type { NodeId } from '../../model/value.ts';
import { keyPlaces } from './key-places.ts';
import { keyReader } from './keys.ts';
import type { Stack } from './stack.ts';
import { opened, type Table } from './table.ts';
import { WEIGHTS, type Budget } from './weight.ts';

export interface Containers {
  /** Of a list, or of an object that takes items like one. */
  readonly append: (items: readonly NodeId[]) => void;
  /** Of a dict, or of an object that takes items like one: keys and values in turn. */
  readonly setItems: (items: readonly NodeId[]) => void;
  /** Of a set. */
  readonly addItems: (items: readonly NodeId[]) => void;
  readonly pushSet: (kind: 'set' | 'frozenset', items: readonly NodeId[]) => void;
}

/** `borrowed`: objects that take nothing. */
export function openContainers(
  { nodes, look, keepAll }: Table,
  { push, top }: Stack,
  { charge }: Budget,
  fail: (message: string) => never,
  borrowed: ReadonlySet<NodeId>,
): Containers {
  const places = keyPlaces(nodes, keyReader(nodes, fail, charge), charge);
  const takesItems = (target: NodeId): boolean => look(target).kind === 'object' && !borrowed.has(target);
  /** Adds to a set or frozenset what it does not hold yet. */
  const addMissing = (target: NodeId, items: readonly NodeId[]): void => {
    keepAll();
    const list = (opened(look(target)).items ??= []);
    const itemAt = (place: number): NodeId => list[place]!;
    for (const item of items) {
      if (places.add(target, item, list.length, itemAt) !== undefined) continue;
      charge(WEIGHTS.entry);
      list.push(item);
    }
  };
  return {
    append: (items) => {
      const target = top();
      const node = look(target);
      if (node.kind !== 'list' && !takesItems(target)) return fail(`items appended to a ${node.kind}`);
      keepAll();
      const list = (opened(node).items ??= []);
      charge(items.length * WEIGHTS.growing);
      for (const item of items) list.push(item);
    },
    setItems: (items) => {
      const target = top();
      if (items.length % 2 !== 0) fail('an odd number of items for a dict');
      const node = look(target);
      if (node.kind !== 'dict' && !takesItems(target)) return fail(`items set on a ${node.kind}`);
      // Most dicts of a checkpoint are the empty hooks of its tensors.
      if (items.length === 0 && node.kind === 'dict') return;
      keepAll();
      const entries = (opened(node).entries ??= []);
      const keyAt = (place: number): NodeId => entries[place]![0];
      for (let position = 0; position < items.length; position += 2) {
        const key = items[position] ?? 0;
        const value = items[position + 1] ?? 0;
        const known = places.add(target, key, entries.length, keyAt);
        if (known === undefined) {
          charge(WEIGHTS.entry);
          entries.push([key, value]);
        } else entries[known] = [entries[known]?.[0] ?? key, value];
      }
    },
    addItems: (items) => {
      const target = top();
      const { kind } = look(target);
      if (kind !== 'set') return fail(`items added to a ${kind}`);
      addMissing(target, items);
    },
    pushSet: (kind, items) => {
      push({ kind, items: [] });
      addMissing(top(), items);
    },
  };
}
