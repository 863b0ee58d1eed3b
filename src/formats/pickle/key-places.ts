/**
 * Places of the keys of dicts, and of the items of sets: short texts as they are, which most are, and all others as `keyReader` tells them.
 *
 * Invariant: linear in the keys. Few are compared one by one: a pickle may hold very many small dicts, and an index of each would take
 * several times what it holds.
 */
import { textPlaces, type TextPlaces } from '../../model/text-places.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { isLong } from './keys.ts';

const FEW = 8;
/** Bytes of memory that an index takes beside its entries. */
const INDEX = 1024;

interface Index {
  readonly texts: TextPlaces;
  readonly others: Map<string, number>;
}

export interface KeyPlaces {
  /** The index of the equal key among the `count` keys of `target`, or undefined after this one was registered at `count`. `keyAt` gives a key by its index. */
  add(target: NodeId, key: NodeId, count: number, keyAt: (place: number) => NodeId): number | undefined;
}

export function keyPlaces(nodes: readonly ValueNode[], keyOf: (id: NodeId) => string, charge: (bytes: number) => void): KeyPlaces {
  const indexes = new Map<NodeId, Index>();

  /** A text that may be compared as it is. */
  const shortText = (id: NodeId): string | undefined => {
    const text = nodes[id];
    return typeof text === 'string' && !isLong(text) ? text : undefined;
  };

  function amongFew(key: NodeId, count: number, keyAt: (place: number) => NodeId): number | undefined {
    // The very same value, set again: nothing has to be told of it.
    for (let place = 0; place < count; place++) if (keyAt(place) === key) return place;
    const text = shortText(key);
    const name = text ?? keyOf(key);
    for (let place = 0; place < count; place++) {
      const other = keyAt(place);
      if (text === undefined ? shortText(other) === undefined && keyOf(other) === name : nodes[other] === text) return place;
    }
    return undefined;
  }

  function addTo({ texts, others }: Index, key: NodeId, place: number): number | undefined {
    const text = shortText(key);
    if (text !== undefined) return texts.add(text, place);
    const name = keyOf(key);
    const known = others.get(name);
    if (known === undefined) others.set(name, place);
    return known;
  }

  return {
    add(target, key, count, keyAt) {
      let index = indexes.get(target);
      if (index === undefined) {
        if (count < FEW) return amongFew(key, count, keyAt);
        charge(INDEX);
        index = { texts: textPlaces(), others: new Map() };
        indexes.set(target, index);
        for (let place = 0; place < count; place++) addTo(index, keyAt(place), place);
      }
      return addTo(index, key, count);
    },
  };
}
