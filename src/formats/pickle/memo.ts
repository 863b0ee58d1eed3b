/** The memo: writers number it from 0 without a gap, so it is a list; only what leaves gaps, as no writer does, goes into a map. */
import type { NodeId } from '../../model/value.ts';

interface Memo {
  readonly get: (index: number) => NodeId | undefined;
  /** True where the index is new. */
  readonly set: (index: number, id: NodeId) => boolean;
  readonly size: () => number;
}

export function openMemo(): Memo {
  /** Nodes are some ten million at most. */
  let dense = new Int32Array(1024);
  let length = 0;
  const sparse = new Map<number, NodeId>();
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
        if (length === dense.length) {
          const larger = new Int32Array(2 * length);
          larger.set(dense);
          dense = larger;
        }
        dense[length++] = id;
        return isNew;
      }
      const isNew = !sparse.has(index);
      sparse.set(index, id);
      return isNew;
    },
    size: () => length + sparse.size,
  };
}
