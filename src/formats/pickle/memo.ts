/**
 * What a pickle remembers by number.
 *
 * Picklers count from 0 without a gap, so an array holds nearly all of it; numbers far ahead, which only a hostile file has,
 * must not make the array long.
 */
import type { NodeId } from '../../model/value.ts';

export interface Memo {
  /** How many numbers are taken: what MEMOIZE takes next. */
  readonly size: number;
  get(index: number): NodeId | undefined;
  set(index: number, id: NodeId): void;
}

export function newMemo(): Memo {
  const dense: NodeId[] = [];
  const ahead = new Map<number, NodeId>();
  return {
    get size() {
      return dense.length + ahead.size;
    },
    get: (index) => dense[index] ?? ahead.get(index),
    set(index, id) {
      if (index > dense.length) return void ahead.set(index, id);
      if (index === dense.length && ahead.size > 0) ahead.delete(index);
      dense[index] = id;
    },
  };
}
