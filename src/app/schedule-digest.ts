/**
 * What a server tells of a schedule, as a digest: whether others have changed it since we wrote it.
 *
 * Invariant: what says the same has the same digest, in whatever order it is told.
 */
import { createHash } from 'node:crypto';
import type { ScheduleDescription } from '@temporalio/client';
import type { Json } from '../errors.ts';
import { canonical } from '../pipeline/schedule.ts';

type Described = Pick<ScheduleDescription, 'spec' | 'policies' | 'action'>;

/** All that a schedule says but for its state, which people change as they go, and the memo, where the digest itself is kept. */
export function describedDigest(description: Described): string {
  return digestOf(description, (a, b) => (a < b ? -1 : 1));
}

/** Whether a schedule still says what it said when this digest of it was made. */
export function saysTheSame(description: Described, digest: string | undefined): boolean {
  if (digest === describedDigest(description)) return true;
  // Older versions took search attributes as they came; our schedules have two at most, so this is the only other order.
  return digest === digestOf(description, (a, b) => (a < b ? 1 : -1));
}

function digestOf({ spec, policies, action: { memo: _memo, ...action } }: Described, byName: (a: string, b: string) => number): string {
  // A list of them comes from a map of the server's, which has no order.
  const given = action.typedSearchAttributes ?? [];
  const pairs = Array.isArray(given) ? [...given] : given.getAll();
  const attributes = pairs.sort((a, b) => byName(a.key.name, b.key.name));
  // Functions and dates have no place there, or become texts.
  const plain = JSON.parse(JSON.stringify({ spec, policies, action: { ...action, typedSearchAttributes: attributes } })) as Json;
  return createHash('sha256').update(canonical(plain)).digest('hex');
}
