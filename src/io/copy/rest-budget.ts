/**
 * What is read of members of archives though no tensor shows it: the end of a storage, what lay beside a slice of it. The archive has one
 * CRC-32 for all bytes of a member, which alone says whether those that were wanted are right.
 */
import type { Layout } from '../../formats/layout.ts';

/** Bytes that are read of one member for its sum; where more are hidden, it is not compared. */
const REST_MOST = 4 * 1024 * 1024;
/** The same of all members: so many times the output, or this where it is more. */
const ALL_SHARE = 1 / 16;
const ALL_LEAST = 64 * 1024 * 1024;

/** Which rests are read: none, as others see to it; small ones; all. */
export type RestsRead = 'none' | 'small' | 'all';

export interface RestBudget {
  /** Whether so many bytes of one member may be read, which are then used up. */
  take(bytes: number): boolean;
}

export function restBudget({ size }: Pick<Layout, 'size'>, rests: RestsRead): RestBudget {
  const most = { none: -1, small: REST_MOST, all: Infinity }[rests];
  let left = rests === 'all' ? Infinity : Math.max(ALL_LEAST, size * ALL_SHARE);
  return {
    take(bytes) {
      if (bytes > most || bytes > left) return false;
      left -= bytes;
      return true;
    },
  };
}

/** Whether so many hidden bytes may be read of a member, were it the only one. */
export function isSmallRest(bytes: number): boolean {
  return bytes <= REST_MOST;
}
