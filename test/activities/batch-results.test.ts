/** Outcomes that come in any order become results in the order of the items, each once, and little is held meanwhile. */
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { batchActivities, type BatchActivities } from '../../activities/batch/index.ts';
import { loadCatalog } from '../../activities/catalog.ts';
import { NO_SETTINGS } from '../../src/io/storage/settings.ts';
import { createStorage } from '../../src/io/storage/storage.ts';
import type { BlobReference } from '../../src/model/context.ts';
import {
  BATCH_REPORT_ACTIVITY,
  FINISH_ACTIVITY,
  LIST_ACTIVITY,
  PAGE_ACTIVITY,
  PART,
  RECORD_ACTIVITY,
  type BatchResult,
  type Noted,
  type Outcome,
} from '../../src/pipeline/batch.ts';
import { servicesOf } from '../support/temporal.ts';

const ITEMS = 20_000;
/** Items of a page. */
const PAGE = 200;
const pipeline = { stages: [{ type: 'source.local', path: '${item.uri}' }] };

let folder: string;
let activities: BatchActivities;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-results-'));
  activities = batchActivities(await loadCatalog(), servicesOf(join(folder, 'workspace')));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** As in a worker: with a context. */
const call = <I, O>(activity: (input: I) => Promise<O>, input: I): Promise<O> => new MockActivityEnvironment().run(activity, input);

test('twenty thousand items, of which one in a thousand ends at the very last', async () => {
  const items = Array.from({ length: ITEMS }, (_, index) => ({ uri: `/in/${index}`, note: `n${index}` }));
  const { index, total } = await call(activities[LIST_ACTIVITY], { items, workspace: null, results: null, pipeline });
  expect(total).toBe(ITEMS);
  const page = await call(activities[PAGE_ACTIVITY], { index, page: 99, workspace: null, pipeline });
  expect(page.items).toHaveLength(PAGE);
  expect(page.items.at(-1)).toEqual({ uri: '/in/19999', key: '19999', columns: { note: 'n19999' } });
  expect((await call(activities[PAGE_ACTIVITY], { index, page: 100, workspace: null, pipeline })).items).toEqual([]);

  const noted = (at: number): Noted => ({
    index: at,
    page: Math.floor(at / PAGE),
    offset: at % PAGE,
    status: 'completed',
    workflow_id: `b/${at}`,
    run_id: `r${at}`,
    outputs: [],
    error: null,
    ended: new Date(at).toISOString(),
  });
  const slow = (at: number): boolean => at % 1000 === 7;
  const all = Array.from({ length: ITEMS }, (_, at) => at);
  // A window of some dozens: near ones end in any order.
  const order = [...all.filter((at) => !slow(at)).sort((a, b) => a + ((a * 7919) % 40) - (b + ((b * 7919) % 40))), ...all.filter(slow)];
  let part: BlobReference | null = null;
  for (let at = 0; at < ITEMS; at += PART) {
    const outcomes = order.slice(at, at + PART).map(noted);
    part = await call(activities[RECORD_ACTIVITY], { workspace: null, index, previous: part, outcomes });
    expect(part.size).toBeLessThan(PART * 200 + 64 * 400);
  }
  const results = await call(activities[FINISH_ACTIVITY], { workspace: null, part, results: null, batch: 'b/ä', run: 'r' });
  const lines = (await readFile(fileURLToPath(results), 'utf8')).trim().split('\n');
  const outcomes = lines.map((line) => JSON.parse(line) as Outcome);
  expect(outcomes.map((outcome) => outcome.index)).toEqual(all);
  for (const outcome of outcomes)
    if (outcome.uri !== `/in/${outcome.index}` || outcome.columns['note'] !== `n${outcome.index}`) throw new Error(JSON.stringify(outcome));
}, 240_000);

test.each([
  ['another page', 0, 3],
  ['no page', 1, 0],
])('an outcome of an item that the list has no more (%s) is refused for good', async (_, page, offset) => {
  const { index } = await call(activities[LIST_ACTIVITY], { items: ['/in/0', '/in/1', '/in/2'], workspace: null, results: null, pipeline });
  const outcome: Noted = {
    index: 3,
    page,
    offset,
    status: 'completed',
    workflow_id: 'b/3',
    run_id: 'r3',
    outputs: [],
    error: null,
    ended: new Date(0).toISOString(),
  };
  await expect(call(activities[RECORD_ACTIVITY], { workspace: null, index, previous: null, outcomes: [outcome] })).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    retryable: false,
    message: expect.stringContaining(`page ${page} of the list ${index.sha256} has `),
    details: { page, offset },
  });
});

test('what was not begun follows what was, from its place in the list on', async () => {
  const items = Array.from({ length: PAGE + 50 }, (_, index) => `/in/${index}`);
  const { index } = await call(activities[LIST_ACTIVITY], { items, workspace: null, results: null, pipeline });
  const results = join(folder, 'r.jsonl');
  const rest = { list: index, page: 0, offset: PAGE - 2, index: PAGE - 2 };
  await call(activities[FINISH_ACTIVITY], { workspace: null, part: null, rest, results, batch: 'b', run: 'r' });
  const outcomes = (await readFile(results, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Outcome);
  expect(outcomes.map((outcome) => outcome.uri)).toEqual(items.slice(PAGE - 2));
  expect(outcomes.map((outcome) => outcome.index)).toEqual(outcomes.map((_, at) => PAGE - 2 + at));
  expect(outcomes[0]).toEqual({
    index: 198,
    item: '198',
    uri: '/in/198',
    columns: {},
    status: 'not_started',
    workflow_id: null,
    run_id: null,
    outputs: [],
    error: null,
  });
  // A list that is gone takes no outcome with it.
  await rm(join(folder, 'workspace'), { recursive: true });
  const other = batchActivities(await loadCatalog(), servicesOf(join(folder, 'workspace')));
  await call(other[FINISH_ACTIVITY], { workspace: null, part: null, rest, results, batch: 'b', run: 'r' });
  expect(await readFile(results, 'utf8')).toBe('');
});

test('no outcome at all: results without a line', async () => {
  const results = await call(activities[FINISH_ACTIVITY], {
    workspace: null,
    part: null,
    results: join(folder, 'r.jsonl'),
    batch: 'b',
    run: 'r',
  });
  expect(results).toBe(join(folder, 'r.jsonl'));
  expect(await readFile(results, 'utf8')).toBe('');
});

test('results and the report beside them do not leave the fence by a link and `..`', async () => {
  const allowed = join(folder, 'allowed');
  await mkdir(join(folder, 'elsewhere', 'deep'), { recursive: true });
  await mkdir(allowed);
  await symlink(join(folder, 'elsewhere', 'deep'), join(allowed, 'link'));
  const storage = createStorage({ settings: { ...NO_SETTINGS, allow: { roots: [allowed] } } });
  const fenced = batchActivities(await loadCatalog(), servicesOf(join(folder, 'workspace'), storage));
  const results = `${allowed}/link/../r.jsonl`;
  await call(fenced[FINISH_ACTIVITY], { workspace: null, part: null, results, batch: 'b', run: 'r' });
  const result = { total: 0, completed: 0, unchanged: 0, failed: 0, cancelled: 0, duration_seconds: 0, results } as unknown as BatchResult;
  const records = { result, document: { items: [], pipeline }, runId: 'r', started: null, ended: null };
  await call(fenced[BATCH_REPORT_ACTIVITY], { workspace: null, records, results, batch: 'b', run: 'r' });
  expect(await readdir(join(folder, 'elsewhere'))).toEqual(['deep']);
  expect((await readdir(allowed)).sort()).toEqual(['link', 'r.jsonl', 'r.jsonl.report.html']);
});
