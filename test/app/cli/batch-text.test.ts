/** What people read of a batch. */
import { expect, test } from '@jest/globals';
import { batchLines, emptyNote } from '../../../src/app/cli/batch-text.ts';
import type { BatchResult } from '../../../src/pipeline/batch.ts';

const batch = (more: Partial<BatchResult>): BatchResult => ({
  workflow_id: 'nightly',
  status: 'completed',
  total: 3,
  completed: 3,
  unchanged: 0,
  failed: 0,
  cancelled: 0,
  running: 0,
  rate: null,
  seconds_left: null,
  failures: [],
  failures_by_code: {},
  results: 'file:///r.jsonl',
  error: null,
  ...more,
});

const RETRY = 'what failed, was cancelled or not started, again: ckpt batch retry nightly';

test.each<readonly [what: string, more: Partial<BatchResult>, retried: boolean]>([
  ['completed', {}, false],
  ['failed items', { completed: 1, failed: 2 }, true],
  ['items that were only cancelled', { status: 'cancelled', completed: 1, cancelled: 2 }, true],
  ['items that were not started', { status: 'cancelled', completed: 1 }, true],
  ['items that nobody wrote down', { status: 'failed', completed: 1, failed: 2, results: null }, false],
  ['failed items of one that goes on', { status: 'running', completed: 1, failed: 1 }, false],
])('%s', (_what, more, retried) => expect(batchLines(batch(more), null).includes(`  ${RETRY}`)).toBe(retried));

test('line by line', () => {
  const failures = [{ item: 'b.pt', code: 'CheckpointLoadError', message: 'damaged at 12' }] as unknown as BatchResult['failures'];
  const lines = batchLines(batch({ completed: 1, failed: 2, failures, report_error: 'no space' }), 'http://127.0.0.1:8243/x');
  expect(lines).toEqual([
    'Batch nightly: completed',
    '  3 of 3 items: 1 published, 0 unchanged, 2 failed',
    '  the last 1 of 2 failures:',
    '  ✖ b.pt  CheckpointLoadError: damaged at 12',
    '  results file:///r.jsonl',
    '  no report: no space',
    `  ${RETRY}`,
    '',
    'Batch in the Temporal UI: http://127.0.0.1:8243/x',
  ]);
});

test('what was cancelled is among the totals', () => {
  expect(batchLines(batch({ status: 'cancelled', total: 5, completed: 1, cancelled: 2 }), null)[1]).toBe(
    '  3 of 5 items: 1 published, 0 unchanged, 0 failed, 2 cancelled',
  );
});

test('what holds it up, and who waits for an answer', () => {
  const going = batch({ status: 'running', completed: 1, running: 2, results: null });
  const retrying = { activity: 'batch.record', attempt: 6, error: 'The workspace /w cannot be\nwritten: EACCES' };
  expect(batchLines({ ...going, retrying, waiting: { count: 2, ids: ['nightly/0/a', 'nightly/1/b'] } }, null).slice(2)).toEqual([
    '  retrying batch.record (attempt 6): The workspace /w cannot be written: EACCES',
    '  2 wait for an answer: ckpt resolve nightly/0/a …',
  ]);
  expect(batchLines({ ...going, retrying: null, waiting: { count: 1, ids: ['nightly/0/a'] } }, null).slice(2)).toEqual([
    '  1 waits for an answer: ckpt resolve nightly/0/a',
  ]);
  expect(batchLines({ ...going, retrying: null, waiting: { count: 0, ids: [] } }, null).slice(2)).toEqual([]);
});

test('a batch that has found nothing says so; one that has not looked yet does not', () => {
  expect(emptyNote(batch({ total: 0 }))).toMatch(/^Nothing was found to run: .*`glob`\.$/);
  expect(emptyNote(batch({ total: 0, status: 'listing' }))).toBeNull();
  expect(emptyNote(batch({}))).toBeNull();
});
