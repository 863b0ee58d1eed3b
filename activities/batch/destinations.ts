/**
 * Items that the template would publish to one place, each over the one before it.
 *
 * Invariant: a number is held for each item while they are listed, and no more of those that share no place. The same item twice is no
 * harm: both publish the same.
 */
import { createHash } from 'node:crypto';
import { expand } from '../../src/pipeline/batch-template.ts';
import type { BatchItem } from '../../src/pipeline/batch.ts';
import type { PipelineInput } from '../../src/pipeline/contract.ts';
import { placeOf } from '../output-clashes.ts';

/** Bytes of a digest that make a number without loss. */
const NUMBER_BYTES = 6;

export interface Destinations {
  /** Called with every item, once. */
  readonly note: (item: BatchItem) => void;
  /** Afterwards, with every item in the same order: the item with what it is kept from, where that is so. Null where none is. */
  readonly judge: () => ((item: BatchItem) => BatchItem) | null;
}

export function destinationsIn(template: PipelineInput): Destinations {
  const outputs = { stages: template.stages.flatMap(({ type, uri }) => (type === 'sink.publish' ? [{ type, uri: uri ?? null }] : [])) };
  const placesOf = (item: BatchItem): readonly string[] => {
    // Kept from its place by an item of an earlier batch already.
    if (item.destination_of !== undefined) return [];
    try {
      return expand(outputs, item).stages.flatMap(({ uri }) => placeOf(uri) ?? []);
    } catch {
      // Its run says what is wrong.
      return [];
    }
  };
  let seen = new Float64Array(1024);
  let count = 0;
  return {
    note(item) {
      for (const place of placesOf(item)) {
        if (count === seen.length) {
          const grown = new Float64Array(2 * count);
          grown.set(seen);
          seen = grown;
        }
        seen[count++] = numberOf(place);
      }
    },
    judge() {
      const sorted = seen.subarray(0, count).sort();
      const shared = new Set(sorted.filter((each, index) => each === sorted[index - 1]));
      if (shared.size === 0) return null;
      const firsts = new Map<string, { readonly key: string; readonly run: string }>();
      return (item) => {
        const places = placesOf(item).filter((place) => shared.has(numberOf(place)));
        if (places.length === 0) return item;
        const run = digestOf(JSON.stringify(expand(template, item))).toString('base64');
        const other = places.map((place) => firsts.get(place)).find((first) => first !== undefined && first.run !== run);
        if (other !== undefined) return { ...item, destination_of: other.key };
        for (const place of places) firsts.set(place, { key: item.key, run });
        return item;
      };
    },
  };
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function numberOf(place: string): number {
  return digestOf(place).readUIntBE(0, NUMBER_BYTES);
}
