/**
 * The values of the blobs that this process wrote or read last: the next stage of a run mostly runs where the one before did, and
 * need not read, verify and parse again what was just written.
 *
 * Invariant: a value stands for one reference, place and digest both, so nobody gets by it what he could not read; and nobody
 * changes it, as everything that passes between stages is readonly.
 */
import type { BlobReference } from '../model/context.ts';

/** Bytes of JSON; a plan of 100 000 tensors has about 20 MB. Values take some four times as much. */
const KEPT = 40 * 2 ** 20;
/** Milliseconds without use until all are let go. */
const IDLE = 60_000;

export interface BlobCache {
  /** Undefined where it is not there. */
  get(reference: BlobReference): unknown;
  keep(reference: BlobReference, value: unknown): void;
}

export function blobCache(): BlobCache {
  /** Those used last come last. */
  const kept = new Map<string, { readonly value: unknown; readonly size: number }>();
  let total = 0;
  let idle: NodeJS.Timeout | undefined;
  const keyOf = ({ uri, sha256 }: BlobReference): string => `${sha256} ${uri}`;

  function take(key: string): unknown {
    const known = kept.get(key);
    if (known === undefined) return undefined;
    kept.delete(key);
    total -= known.size;
    return known.value;
  }

  const keep: BlobCache['keep'] = (reference, value) => {
    const { size } = reference;
    take(keyOf(reference));
    if (size > KEPT) return;
    for (const oldest of kept.keys()) {
      if (total + size <= KEPT) break;
      take(oldest);
    }
    kept.set(keyOf(reference), { value, size });
    total += size;
    clearTimeout(idle);
    idle = setTimeout(() => {
      kept.clear();
      total = 0;
    }, IDLE).unref();
  };

  return {
    get(reference) {
      const value = take(keyOf(reference));
      if (value !== undefined) keep(reference, value);
      return value;
    },
    keep,
  };
}
