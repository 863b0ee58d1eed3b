/**
 * What a pickle's values take of memory, counted while they are made: the bound on memory whatever the bytes say.
 *
 * Figures are V8's of Node 20 to 24, rounded up; the tests of the limits compare the sum with the peak of a whole process.
 */
import type { ValueNode } from '../../model/value.ts';
import { PickleLimitError } from './cursor.ts';

export const WEIGHTS = {
  /** A place in a list of known length. */
  slot: 8,
  /** A place in what grows: the table, a list. While such a list grows, the old one is there as well. */
  growing: 24,
  /**
   * A place on the stack or in a list of marks, which a few bytes of input push and nothing else weighs: with the old list and room for half as
   * many again, and the lists before that, which are not collected while nothing but these is made.
   */
  stacked: 36,
  /** An index of the memo, in a list or a map. */
  memo: 40,
  /** A key of a dict, with its pair and its place in the index. */
  entry: 120,
  /** A node of its own kind, with its place in the table. */
  object: 88,
  /** A list's own header, beside its items. */
  list: 32,
  /** A string's header; a character takes up to two bytes. */
  text: 24,
} as const;

/** What a pickle may take of memory, and has taken. */
export interface Budget {
  /** Throws `PickleLimitError` where that is more than is left. */
  readonly charge: (bytes: number) => void;
  readonly affords: (bytes: number) => boolean;
}

/** `spent` of `memory` bytes are taken already; `position` says where in the pickle the reader is. */
export function openBudget(memory: number, spent: number, position: () => number): Budget {
  let weight = spent;
  return {
    charge: (bytes) => {
      weight += bytes;
      if (weight > memory) throw new PickleLimitError(`reading it would take more than ${memory} bytes of memory`, position());
    },
    affords: (bytes) => weight + bytes <= memory,
  };
}

/** What a node takes of memory. */
export function weigh(node: ValueNode): number {
  if (typeof node === 'string') return WEIGHTS.growing + WEIGHTS.text + 2 * node.length;
  if (typeof node === 'number') return WEIGHTS.growing + (Number.isInteger(node) && Math.abs(node) < 2 ** 30 ? 0 : 16);
  if (typeof node !== 'object' || node === null) return WEIGHTS.growing;
  switch (node.kind) {
    case 'list':
    case 'tuple':
    case 'set':
    case 'frozenset':
      return WEIGHTS.object + WEIGHTS.list + WEIGHTS.slot * node.items.length;
    case 'dict':
      // Those that a call copies have entries at once.
      return WEIGHTS.object + WEIGHTS.list + WEIGHTS.entry * node.entries.length;
    case 'bytes':
    case 'bytearray':
      return WEIGHTS.object + WEIGHTS.text + node.base64.length;
    case 'int':
      return WEIGHTS.object + WEIGHTS.text + node.decimal.length;
    default:
      return WEIGHTS.object;
  }
}
