import { getHeapStatistics } from 'node:v8';

/** What a pickle may weigh. Each limit has the largest value seen in real checkpoints beside it. */
export const PICKLE_LIMITS = {
  /** Bytes of one pickle; 500 000 tensors make 68 MB, and more where their names are long. */
  bytes: 128 * 2 ** 20,
  /** Bytes to which a deflated pickle may inflate, however few it is stored as; a list of eight million zeros does. */
  inflated: 16 * 2 ** 20,
  /** A larger one may be this many times as large as it is stored; tensors inflate to five times theirs. */
  inflatedTimes: 64,
  /**
   * Bytes of memory that a pickle of any size may take: twice its own bytes, as a cache may hold a copy, and its values, as
   * `weight.ts` counts them. 100 000 tensors take about two thirds. The process then stays below 512 MiB.
   */
  memory: 288 * 2 ** 20,
  /** A larger pickle may take this many times its own bytes, or those it was deflated to, up to `memoryMost`; tensors take 17 times theirs at most. */
  memoryTimes: 20,
  /** 500 000 tensors take three quarters of it. */
  memoryMost: 1_200 * 2 ** 20,
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

/**
 * Bytes of all pickles of an archive: the largest one allowed, and half as many again. Beside its data.pkl, TorchScript of large models
 * has some hundreds for debugging, of some MB together.
 */
export const PICKLES_MAX = 1.5 * PICKLE_LIMITS.bytes;

/** Share of its heap that a process spends on one pickle above `memory`: running out of heap ends the process, whatever else it does. */
const SHARE_OF_HEAP = 0.5;

/**
 * Bytes of memory that a pickle of `size` bytes may take: what it costs is bounded by a multiple of what it brings, so that a
 * small file costs little and a large one no more than this process can bear.
 */
export function pickleMemory(size: number, limits: PickleLimits, heap = getHeapStatistics().heap_size_limit): number {
  const most = Math.min(limits.memoryMost, SHARE_OF_HEAP * heap);
  return Math.max(limits.memory, Math.min(limits.memoryTimes * size, most));
}

interface StoredPickle {
  readonly stored: number;
  readonly size: number;
}

/** What is wrong with a pickle that inflates to more than its stored bytes are worth: each byte of it takes time; undefined: nothing. */
export function inflatesTooFar({ stored, size }: StoredPickle): string | undefined {
  const { inflated, inflatedTimes } = PICKLE_LIMITS;
  if (size <= Math.max(inflated, inflatedTimes * stored)) return undefined;
  return `it inflates from ${stored} bytes to ${size}, more than ${inflatedTimes} times as many, which no checkpoint does`;
}

/** The limits of a pickle that inflates to `size` bytes from `stored` ones: what a file brings is what it stores. */
export function limitsOfStored({ stored, size }: StoredPickle): PickleLimits {
  return stored < size ? { ...PICKLE_LIMITS, memoryTimes: (PICKLE_LIMITS.memoryTimes * stored) / size } : PICKLE_LIMITS;
}

/** torch allows 64 dimensions in its serialised form. */
export const MAX_DIMENSIONS = 64;
/** Bytes of one tensor. */
export const MAX_TENSOR_BYTES = 2 ** 44;
/** A view larger than `EXPANDED_FROM` bytes may be at most this many times its storage (stride 0 repeats elements). */
export const MAX_EXPANSION = 2 ** 16;
export const EXPANDED_FROM = 2 ** 30;
