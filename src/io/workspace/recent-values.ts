/**
 * The values that this process wrote or read last, as the blobs of a workspace: the next stage of a run mostly runs where the one before
 * did, and need not read, verify and parse again what was just written.
 *
 * Invariant: whoever keeps a value under a key stands for it that the key names this value and no other, so nobody gets by it what he
 * could not read; and nobody changes it, as everything that passes between stages is readonly.
 */

/** Bytes of their text, of all values together; a header or a plan of 100 000 tensors has 5 to 20 MB. Values take some four times as much. */
const KEPT = 48 * 2 ** 20;
/** Values at most: each weighs more than its text, and a batch of small checkpoints makes thousands that nobody asks for again. */
const MOST = 128;
/** Milliseconds without use until all are let go. */
const IDLE = 60_000;

export interface RecentValues {
  /** Undefined where it is not there. */
  get(key: string): unknown;
  /** `size`: bytes of its text. */
  keep(key: string, value: unknown, size: number): void;
  /** Of what another value takes the place of. */
  forget(key: string): void;
}

export function recentValues(): RecentValues {
  /** Those used last come last. */
  const kept = new Map<string, { readonly value: unknown; readonly size: number }>();
  let total = 0;
  let idle: NodeJS.Timeout | undefined;

  function take(key: string): { readonly value: unknown; readonly size: number } | undefined {
    const known = kept.get(key);
    if (known === undefined) return undefined;
    kept.delete(key);
    total -= known.size;
    return known;
  }

  function keep(key: string, value: unknown, size: number): void {
    take(key);
    if (size > KEPT) return;
    for (const oldest of kept.keys()) {
      if (total + size <= KEPT && kept.size < MOST) break;
      take(oldest);
    }
    kept.set(key, { value, size });
    total += size;
    clearTimeout(idle);
    idle = setTimeout(() => {
      kept.clear();
      total = 0;
    }, IDLE).unref();
  }

  return {
    get(key) {
      const known = take(key);
      if (known !== undefined) keep(key, known.value, known.size);
      return known?.value;
    },
    keep,
    forget: (key) => void take(key),
  };
}
