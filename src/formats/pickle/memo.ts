/** The memo: writers number it from 0 without a gap, so it is a list; only what leaves gaps, as no writer does, goes into a map. */
import type { NodeId } from '../../model/value.ts';

interface Memo {
  readonly get: (index: number) => NodeId | undefined;
  /** True where the index is new. */
  readonly set: (index: number, id: NodeId) => boolean;
  readonly size: () => number;
}

export function openMemo(): Memo {
  const dense: NodeId[] = [];
  const sparse = new Map<number, NodeId>();
  return {
    get: (index) => (index < dense.length ? dense[index] : sparse.get(index)),
    set: (index, id) => {
      if (index < dense.length) {
        dense[index] = id;
        return false;
      }
      if (index === dense.length) {
        // Its place in the map, if it had one, is dead from here on.
        const isNew = !sparse.delete(index);
        dense.push(id);
        return isNew;
      }
      const isNew = !sparse.has(index);
      sparse.set(index, id);
      return isNew;
    },
    size: () => dense.length + sparse.size,
  };
}
