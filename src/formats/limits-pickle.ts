/** What a pickle may weigh. Each limit has the largest value seen in real checkpoints beside it. */
export const PICKLE_LIMITS = {
  /** Bytes of one pickle; 200 000 tensors make 27 MB. */
  bytes: 64 * 2 ** 20,
  /**
   * Bytes of memory that one pickle may take: twice its own bytes, as a cache may hold a copy, and its values, as `weight.ts`
   * counts them. 100 000 tensors take about two thirds. The process then stays below 512 MiB.
   */
  memory: 288 * 2 ** 20,
  /** Values when every shared one is counted each time it is met: what a careless walk would visit. */
  expanded: 1e9,
  /** Nesting; hyper-parameters of Anemoi reach about 20. */
  depth: 1_000,
  /** Bytes of an integer (LONG1 has at most 255); NumPy's random states have 2 500 in a byte string, not here. */
  integerBytes: 1_024,
  /** Characters of a text line (GLOBAL, INT, LONG …). */
  line: 4_096,
  /** Globals that are recorded. */
  globals: 100_000,
} as const;
export type PickleLimits = { readonly [name in keyof typeof PICKLE_LIMITS]: number };

/** torch allows 64 dimensions in its serialised form. */
export const MAX_DIMENSIONS = 64;
/** Bytes of one tensor. */
export const MAX_TENSOR_BYTES = 2 ** 44;
/** A view larger than `EXPANDED_FROM` bytes may be at most this many times its storage (stride 0 repeats elements). */
export const MAX_EXPANSION = 2 ** 16;
export const EXPANDED_FROM = 2 ** 30;
