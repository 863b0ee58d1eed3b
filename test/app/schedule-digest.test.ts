/** Servers tell the search attributes of a schedule in any order. */
import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import type { ScheduleDescription } from '@temporalio/client';
import { defineSearchAttributeKey, TypedSearchAttributes, type SearchAttributePair } from '@temporalio/common';
import { describedDigest, saysTheSame } from '../../src/app/schedule-digest.ts';
import type { Json } from '../../src/errors.ts';
import { canonical } from '../../src/pipeline/schedule.ts';

const SOURCE: SearchAttributePair = { key: defineSearchAttributeKey('CheckpointSource', 'KEYWORD'), value: '/in.ckpt' };
const STATUS: SearchAttributePair = { key: defineSearchAttributeKey('CheckpointStatus', 'KEYWORD'), value: 'running' };

// What the server tells beside this plays no part.
const told = (attributes: readonly SearchAttributePair[], args: readonly unknown[] = [], memo: object = {}): ScheduleDescription =>
  ({
    spec: { calendars: [], jitter: 0 },
    policies: { overlap: 'SKIP', catchupWindow: 60_000, pauseOnFailure: false },
    action: {
      type: 'startWorkflow',
      workflowType: 'checkpointPipeline',
      args,
      memo,
      searchAttributes: Object.fromEntries(attributes.map(({ key, value }) => [key.name, [value]])),
      typedSearchAttributes: new TypedSearchAttributes([...attributes]),
    },
  }) as unknown as ScheduleDescription;

/** As versions before took it: the list as it came. */
function formerDigest({ spec, policies, action: { memo: _memo, ...action } }: ScheduleDescription): string {
  const plain = JSON.parse(JSON.stringify({ spec, policies, action })) as Json;
  return createHash('sha256').update(canonical(plain)).digest('hex');
}

const ORDERS = [
  [SOURCE, STATUS],
  [STATUS, SOURCE],
];

test('either order is one digest, and the memo plays no part in it', () => {
  const [one, other] = ORDERS.map((order) => describedDigest(told(order)));
  expect(one).toBe(other);
  expect(describedDigest(told(ORDERS[0]!, [], { said: 1 }))).toBe(one);
});

test.each(ORDERS.flatMap((then) => ORDERS.map((now) => [then, now] as const)))(
  'what was written down before, in any order',
  (then, now) => {
    expect(saysTheSame(told(now), formerDigest(told(then)))).toBe(true);
    expect(saysTheSame(told(now), describedDigest(told(then)))).toBe(true);
  },
);

test.each<[string, readonly SearchAttributePair[]]>([
  ['none', []],
  ['one', [STATUS]],
])('%s: the digest is what it was', (_, attributes) => {
  expect(describedDigest(told(attributes))).toBe(formerDigest(told(attributes)));
});

test.each<[string, ScheduleDescription]>([
  ['another input', told(ORDERS[0]!, [{ stages: [] }])],
  ['another value', told([SOURCE, { ...STATUS, value: 'failed' } as SearchAttributePair])],
  ['one attribute less', told([STATUS])],
])('%s is a change', (_, changed) => {
  const digest = describedDigest(told(ORDERS[0]!));
  expect(saysTheSame(changed, digest)).toBe(false);
  expect(saysTheSame(changed, undefined)).toBe(false);
});
