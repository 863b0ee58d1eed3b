/** What a report of a batch is made from, and what it says that it lacks. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { collectBatch } from '../../activities/batch/report.ts';
import type { BatchResult } from '../../src/pipeline/batch.ts';
import { servicesOf } from '../support/temporal.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-batch-report-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a document that was too long to travel whole does not cost the table of its items', async () => {
  const results = join(folder, 'results.jsonl');
  await writeFile(
    results,
    `${JSON.stringify({ index: 0, item: 'a.pt', status: 'failed', error: { type: 'CheckpointLoadError', message: 'cut' }, outputs: [] })}\n`,
  );
  const counts = { total: 1, completed: 0, unchanged: 0, failed: 1, cancelled: 0, running: 0 };
  const unknown = { failures: [], failures_by_code: {}, rate: null, seconds_left: null, error: null };
  const result: BatchResult = { workflow_id: 'b', status: 'completed', ...counts, ...unknown, results: pathToFileURL(results).href };
  const facts = { result, workspace: null, runId: 'r', started: null, ended: null };
  const contents = await collectBatch(servicesOf(join(folder, 'workspace')), { ...facts, document: { name: 'nightly' } });
  expect(contents.items?.item).toEqual(['a.pt']);
  expect(contents.gaps).toEqual(['The batch document is too long for this report, so it is shown in part.']);
});
