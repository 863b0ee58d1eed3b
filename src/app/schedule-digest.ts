/**
 * What a server tells of a schedule, as a digest: whether others have changed it since we wrote it.
 *
 * Invariant: what says the same has the same digest, in whatever order it is told.
 */
import { createHash } from 'node:crypto';
import type { ScheduleDescription } from '@temporalio/client';
import type { Json } from '../errors.ts';
import { canonicalJson } from '../model/json-text.ts';

type Described = Pick<ScheduleDescription, 'spec' | 'policies' | 'action'>;

/** All that a schedule says but for its state, which people change as they go, and the memo, where the digest itself is kept. */
export function describedDigest({ spec, policies, action: { memo: _memo, ...action } }: Described): string {
  // A list of them comes from a map of the server's, which has no order.
  const given = action.typedSearchAttributes ?? [];
  const pairs = Array.isArray(given) ? [...given] : given.getAll();
  const typedSearchAttributes = pairs.sort((a, b) => (a.key.name < b.key.name ? -1 : 1));
  // Functions and dates have no place there, or become texts.
  const plain = JSON.parse(JSON.stringify({ spec, policies, action: { ...action, typedSearchAttributes } })) as Json;
  return createHash('sha256').update(canonicalJson(plain)).digest('hex');
}
