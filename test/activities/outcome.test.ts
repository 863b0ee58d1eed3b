/** What the code of a stage may give back. */
import { expect, test } from '@jest/globals';
import { checkedOutcome } from '../../activities/outcome.ts';
import { EMPTY_CONTEXT } from '../../src/model/context.ts';

test.each<[unknown, string]>([
  [undefined, 'nothing'],
  [null, 'null'],
  [[], 'a list'],
  ['done', 'a string'],
  [{}, 'a `context` that is nothing'],
  [{ context: {}, summary: '' }, 'a `context` without `metadata`, `outputs` or `weightsLoaded`'],
  [{ context: EMPTY_CONTEXT }, 'a `summary` that is nothing'],
  [{ context: EMPTY_CONTEXT, summary: {} }, 'a `summary` that is an object'],
])('%j is no outcome, and no other attempt makes it one', (given, got) => {
  expect(() => checkedOutcome('modifier.x', given)).toThrow(
    expect.objectContaining({
      code: 'CheckpointError',
      retryable: false,
      message: expect.stringMatching(/^modifier\.x returned .*, expected \{context, summary\}: /),
      details: { reason: 'stage_code', stage: 'modifier.x' },
    }),
  );
  expect(() => checkedOutcome('modifier.x', given)).toThrow(`returned ${got}, expected`);
});

test('a summary is a line, and cut where it is long', () => {
  const given = { context: EMPTY_CONTEXT, summary: 'as it is' };
  expect(checkedOutcome('modifier.x', given)).toEqual(given);
  expect(checkedOutcome('modifier.x', { ...given, summary: 'x'.repeat(3_000_000) }).summary).toBe(`${'x'.repeat(1000)}…`);
});
