/** The memo: writers number it from 0 without a gap, so it is a list; only what leaves gaps, as no writer does, goes into a map. */
import type { NodeId } from '../../model/value.ts';

/** In place of the node of an entry that is never fetched. */
export const FORGOTTEN = -1;

export interface Memo {
  readonly get: (index: number) => NodeId | undefined;
  /** True where the index is new. */
  readonly set: (index: number, id: NodeId) => boolean;
  readonly size: () => number;
  /** The same for so many entries that follow one another from the first free one on; false, and nothing done, where they do not. */
  readonly append: (first: number, count: number, id: NodeId) => boolean;
}

export function openMemo(): Memo {
  /** Nodes are some ten million at most. */
  let dense = new Int32Array(1024);
  let length = 0;
  const sparse = new Map<number, NodeId>();
  const grow = (): void => {
    const larger = new Int32Array(2 * length);
    larger.set(dense);
    dense = larger;
  };
  return {
    get: (index) => (index < length ? dense[index] : sparse.get(index)),
    set: (index, id) => {
      if (index < length) {
        dense[index] = id;
        return false;
      }
      if (index === length) {
        // Its place in the map, if it had one, is dead from here on.
        const isNew = !sparse.delete(index);
        if (length === dense.length) grow();
        dense[length++] = id;
        return isNew;
      }
      const isNew = !sparse.has(index);
      sparse.set(index, id);
      return isNew;
    },
    size: () => length + sparse.size,
    append: (first, count, id) => {
      if (first !== length || sparse.size > 0) return false;
      for (const end = length + count; length < end; length++) {
        if (length === dense.length) grow();
        dense[length] = id;
      }
      return true;
    },
  };
}
