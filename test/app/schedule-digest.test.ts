/** Servers tell the search attributes of a schedule in any order. */
import { expect, test } from '@jest/globals';
import type { ScheduleDescription } from '@temporalio/client';
import { defineSearchAttributeKey, TypedSearchAttributes, type SearchAttributePair } from '@temporalio/common';
import { describedDigest } from '../../src/app/schedule-digest.ts';

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

const ORDERS = [
  [SOURCE, STATUS],
  [STATUS, SOURCE],
];

test('either order is one digest, and the memo plays no part in it', () => {
  const [one, other] = ORDERS.map((order) => describedDigest(told(order)));
  expect(one).toBe(other);
  expect(describedDigest(told(ORDERS[0]!, [], { said: 1 }))).toBe(one);
});

test.each<[string, ScheduleDescription]>([
  ['another input', told(ORDERS[0]!, [{ stages: [] }])],
  ['another value', told([SOURCE, { ...STATUS, value: 'failed' } as SearchAttributePair])],
  ['one attribute less', told([STATUS])],
])('%s is a change', (_, changed) => {
  expect(describedDigest(changed)).not.toBe(describedDigest(told(ORDERS[0]!)));
});
