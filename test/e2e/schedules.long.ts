/** Schedules on a real server: what they start, and what is said of it. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker } from '@temporalio/worker';
import { registerAttributes } from '../../src/app/temporal/search-attributes.ts';
import { CheckpointClient, type ScheduleEntry, type ScheduleInput, type ScheduleState } from '../../src/index.ts';
import { TASK_QUEUE, type PipelineInput } from '../../src/pipeline/contract.ts';
import { ckpt, type Ended } from '../support/cli.ts';
import { fixture } from '../support/project.ts';
import { devServer, servicesOf, workerOf } from '../support/temporal.ts';

const LONG = 180_000;
const UI = 'http://ui.invalid';

let environment: TestWorkflowEnvironment;
let client: CheckpointClient;
let folder: string;
let worker: Worker;
let working: Promise<void>;

beforeAll(async () => {
  environment = await devServer();
  // What the server tells of a schedule has them in any order.
  await registerAttributes(environment.connection, 'default');
  client = new CheckpointClient({ client: environment.client });
  const workspace = await mkdtemp(join(tmpdir(), 'ckpt-schedules-'));
  worker = await workerOf(environment, TASK_QUEUE, servicesOf(workspace));
  working = worker.run();
});
afterAll(async () => {
  worker?.shutdown();
  await working;
  await environment?.teardown();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-schedules-'));
});
afterEach(async () => {
  for await (const { id } of client.schedules.list()) await client.schedules.delete(id);
  await rm(folder, { recursive: true, force: true });
});

const pipeline = (source = fixture('good/state_dict.pt')): PipelineInput => ({
  name: 'scheduled',
  stages: [
    { type: 'source.local', path: source },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: join(folder, 'out.safetensors') },
  ],
});
const yearly = (more: Partial<ScheduleInput> = {}): ScheduleInput =>
  ({ pipeline: pipeline(), cron: '0 3 1 1 *', ...more }) as ScheduleInput;

const run = (...args: readonly string[]): Promise<Ended> =>
  ckpt(['schedule', ...args], { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address, TEMPORAL_UI_URL: UI } }).ended;
/** Also of what fails. */
async function answer(code: number, ...args: readonly string[]): Promise<unknown> {
  const ended = await run(...args, '--json');
  expect([ended.code, ended.stderr]).toEqual([code, '']);
  return JSON.parse(ended.stdout);
}

async function until(id: string, holds: (now: ScheduleState) => boolean): Promise<ScheduleState> {
  for (;;) {
    const state = await client.schedules.describe(id);
    if (holds(state)) return state;
    await sleep(100);
  }
}
const settled = ({ runs }: ScheduleState): boolean => runs.length > 0 && runs.every(({ outcome }) => outcome !== 'running');

async function entries(): Promise<readonly ScheduleEntry[]> {
  const all: ScheduleEntry[] = [];
  for await (const entry of client.schedules.list()) all.push(entry);
  return all;
}

const thrown = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error,
  );

test(
  'an interval starts runs by itself: the first publishes, the next find all unchanged',
  async () => {
    await client.schedules.create('often', { pipeline: pipeline(), every: '1s' });
    const { runs, kind, name, next } = await until('often', (now) => settled(now) && now.runs.length >= 2);
    expect({ kind, name }).toEqual({ kind: 'pipeline', name: 'scheduled' });
    expect(runs.at(-1)).toMatchObject({ outcome: 'completed', error: null, workflow_id: expect.stringMatching(/^often-2\d{3}-/) });
    expect(runs[0]).toMatchObject({ outcome: 'unchanged' });
    expect(next.length).toBeGreaterThan(0);
    // What starts runs says the same of them as the other clients do.
    const { raw } = await environment.client.workflow.getHandle(runs[0]!.workflow_id).describe();
    expect(Buffer.from(raw.executionConfig!.userMetadata!.summary!.data!).toString()).toContain('scheduled: source.local → ');
  },
  LONG,
);

test('create is idempotent; another one of that id is refused; apply changes it and keeps it paused; update keeps the rest', async () => {
  const { schedules } = client;
  expect(await schedules.create('s', yearly({ note: 'one' }))).toEqual({ id: 's', outcome: 'created' });
  expect(await schedules.create('s', { ...yearly(), note: 'one' })).toEqual({ id: 's', outcome: 'unchanged' });
  expect(await thrown(schedules.create('s', yearly({ cron: '0 4 1 1 *' })))).toMatchObject({ code: 'CheckpointConfigError' });
  await schedules.pause('s', 'for the test');
  expect(await schedules.apply('s', yearly({ cron: ['0 4 1 1 *', '0 5 1 1 *'], time_zone: 'Asia/Tokyo' }))).toEqual({
    id: 's',
    outcome: 'updated',
  });
  const timing = { cron: ['0 4 1 1 *', '0 5 1 1 *'], time_zone: 'Asia/Tokyo' };
  expect(await schedules.describe('s')).toMatchObject({ paused: true, note: 'for the test', timing, next: [], runs: [] });
  await schedules.unpause('s');
  const { next } = await schedules.describe('s');
  // Four in the morning in Tokyo is seven in the evening before, UTC.
  expect(next.slice(0, 2).map((time) => time.slice(4))).toEqual(['-12-31T19:00:00.000Z', '-12-31T20:00:00.000Z']);
  expect(await schedules.update('s', { every: '6h', offset: '1h', overlap: 'buffer_one', catch_up: '1d', jitter: 0 })).toMatchObject({
    outcome: 'updated',
  });
  const changed = { every: '6h', offset: '1h', overlap: 'buffer_one', catch_up: '1d', jitter: 0, time_zone: 'Asia/Tokyo' };
  expect((await schedules.describe('s')).timing).toEqual(changed);
  expect((await schedules.describe('s')).next[0]).toMatch(/T(01|07|13|19):00:00\.000Z$/);
  const { spec, policies, action } = await environment.client.schedule.getHandle('s').describe();
  expect(spec).toMatchObject({ intervals: [{ every: 6 * 3600_000, offset: 3600_000 }], calendars: [] });
  expect(policies).toMatchObject({ overlap: 'BUFFER_ONE', catchupWindow: 24 * 3600_000 });
  expect(action).toMatchObject({ workflowType: 'checkpointPipeline', taskQueue: TASK_QUEUE, args: [pipeline()] });
});

test('whatever is said again is unchanged, each time', async () => {
  const { schedules } = client;
  await schedules.create('s', yearly());
  const { action } = await environment.client.schedule.getHandle('s').describe();
  expect(Object.keys(action.searchAttributes ?? {}).sort()).toEqual(['CheckpointSource', 'CheckpointStatus']);
  const outcomes: string[] = [];
  for (let time = 0; time < 20; time++)
    for (const act of ['create', 'apply'] as const) outcomes.push((await schedules[act]('s', yearly())).outcome);
  expect(new Set(outcomes)).toEqual(new Set(['unchanged']));
});

test('apply notices what another program has changed, but for a pause; what it then writes is its own again', async () => {
  const { schedules } = client;
  const wanted = yearly({ time_zone: 'Asia/Tokyo', jitter: '1m' });
  const outcome = async (): Promise<string> => (await schedules.apply('s', wanted)).outcome;
  expect([await outcome(), await outcome()]).toEqual(['created', 'unchanged']);
  await schedules.pause('s', 'for the test');
  expect(await outcome()).toBe('unchanged');
  const handle = environment.client.schedule.getHandle('s');
  // As the UI and the Temporal CLI do: all that they do not touch stays, our own mark too.
  await handle.update(({ spec, ...rest }) => ({ ...rest, spec: { ...spec, jitter: 5000 } }));
  expect((await handle.describe()).spec.jitter).toBe(5000);
  expect([await outcome(), await outcome()]).toEqual(['updated', 'unchanged']);
  expect((await handle.describe()).spec).toMatchObject({ jitter: 60_000, timezone: 'Asia/Tokyo' });
  await handle.update(({ action, ...rest }) => ({ ...rest, action: { ...action, args: [pipeline('/elsewhere.pt')] } as never }));
  expect([await outcome(), await outcome()]).toEqual(['updated', 'unchanged']);
  expect(await schedules.describe('s')).toMatchObject({ paused: true, note: 'for the test' });
});

test('the note of a document outlives pauses, and what they came with ends with them', async () => {
  const { schedules } = client;
  const shown = async (): Promise<string | null> => (await schedules.describe('s')).note;
  const declared = yearly({ note: 'declared', paused: true } as Partial<ScheduleInput>);
  await schedules.apply('s', declared);
  await schedules.unpause('s');
  expect(await shown()).toBe('declared');
  expect(await schedules.apply('s', declared)).toMatchObject({ outcome: 'unchanged' });
  await schedules.pause('s');
  expect(await shown()).toBe('declared');
  await schedules.pause('s', 'holiday');
  await schedules.pause('s');
  expect(await schedules.apply('s', declared)).toMatchObject({ outcome: 'unchanged' });
  expect(await shown()).toBe('holiday');
  await schedules.update('s', { cron: '0 4 1 1 *' });
  expect(await shown()).toBe('holiday');
  await schedules.unpause('s');
  expect(await shown()).toBe('declared');
  // What is said beside the end of a pause stays, until the document is applied.
  await schedules.unpause('s', 'back');
  expect(await shown()).toBe('back');
  expect(await schedules.apply('s', yearly({ note: 'declared', cron: '0 4 1 1 *' }))).toMatchObject({ outcome: 'updated' });
  expect(await shown()).toBe('declared');
  await schedules.pause('s', 'holiday');
  expect(await schedules.update('s', { note: 'of people' })).toMatchObject({ outcome: 'updated' });
  expect(await shown()).toBe('of people');
  await schedules.unpause('s');
  expect(await shown()).toBe('of people');
});

test('a schedule whose note an earlier version has lost gets it back when its document is applied', async () => {
  const { schedules } = client;
  const handle = environment.client.schedule.getHandle('s');
  const declared = yearly({ note: 'declared' });
  await schedules.create('s', declared);
  for (const act of ['pause', 'unpause'] as const) {
    await handle[act](`${act}d`);
    await until('s', ({ note }) => note === `${act}d`);
    expect(await schedules.apply('s', declared)).toMatchObject({ outcome: 'updated' });
    expect((await schedules.describe('s')).note).toBe('declared');
    expect(await schedules.apply('s', declared)).toMatchObject({ outcome: 'unchanged' });
  }
});

test(
  'a backfill says how many starts it is, and begins none where they are more than allowed',
  async () => {
    const { schedules } = client;
    await schedules.create('s', { pipeline: pipeline(), every: '10m', paused: true });
    const [from, to] = [new Date('2020-01-01'), new Date('2026-11-28')];
    const refused = await thrown(schedules.backfill('s', { from, to }));
    expect(refused).toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringMatching(/more than 1000 starts \(some 363\d{3} /),
    });
    // The times at both ends count, as they do for the server; more than it tells at a time are counted, too.
    const day = new Date('2020-01-15T00:00:00.500Z');
    expect(await thrown(schedules.backfill('s', { from, to: day, most: 2016 }))).toMatchObject({ details: { most: 2016 } });
    const { code, stderr } = await run('backfill', 's', '--from', '2020-01-01', '--to', '2020-01-15', '--most', '2016');
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('`--most N`') });
    expect(await schedules.describe('s')).toMatchObject({ started: 0, runs: [] });
    expect(await schedules.backfill('s', { from, to: new Date('2020-01-01T00:20:00Z'), most: 3 })).toEqual({ id: 's', starts: 3 });
    const state = await until('s', (now) => settled(now) && now.started >= 3);
    expect(state.runs.map(({ scheduled }) => scheduled).toSorted()).toEqual(
      ['00', '10', '20'].map((minute) => `2020-01-01T00:${minute}:00.000Z`),
    );
  },
  LONG,
);

test(
  'a failed run is listed with its error; a trigger works while it is paused; what overlaps is skipped',
  async () => {
    const { schedules } = client;
    await schedules.create(
      'bad',
      yearly({ ...yearly(), pipeline: pipeline(join(folder, 'nowhere.pt')), paused: true } as Partial<ScheduleInput>),
    );
    const { workflow_id: failed } = await schedules.trigger('bad');
    const state = await until('bad', settled);
    expect(state).toMatchObject({ paused: true, started: 1 });
    expect(state.runs).toEqual([expect.objectContaining({ workflow_id: failed, outcome: 'failed' })]);
    expect(state.runs[0]!.error).toMatchObject({ type: 'CheckpointNotFoundError', message: expect.stringContaining('nowhere.pt') });
    expect(await entries()).toMatchObject([{ id: 'bad', kind: 'pipeline', paused: true, runs: [{ outcome: 'failed' }] }]);

    await schedules.update('bad', { pipeline: { ...pipeline(join(folder, 'nowhere.pt')), on_error: 'wait' } });
    // The ids of runs have seconds: two of one second would be one.
    await sleep(1100);
    const first = await schedules.trigger('bad');
    await sleep(1100);
    expect(await schedules.trigger('bad')).toEqual({ id: 'bad', workflow_id: null, skipped: true });
    expect((await schedules.describe('bad')).skipped).toBe(1);
    await sleep(1100);
    const second = await schedules.trigger('bad', 'cancel_other');
    expect(second.workflow_id).not.toBeNull();
    expect(await client.settled(first.workflow_id!)).toMatchObject({ status: 'cancelled' });
    await client.cancel(second.workflow_id!);
    const ended = await until('bad', (now) => settled(now) && now.runs.length === 3);
    expect(ended.runs.map(({ outcome }) => outcome)).toEqual(['cancelled', 'cancelled', 'failed']);
  },
  LONG,
);

test(
  'the command line: a document and the pipeline beside it; list, describe, pause, backfill, delete',
  async () => {
    await cp(fixture('good/state_dict.pt'), join(folder, 'last.pt'));
    const stages =
      'stages:\n  - {type: source.local, path: last.pt}\n  - type: loader.weights_only\n  - {type: sink.publish, uri: "${param.to}"}\n';
    await mkdir(join(folder, 'schedules'));
    await writeFile(join(folder, 'pipeline.yaml'), `name: from-file\n${stages}`);
    const file = join('schedules', 'nightly.yaml');
    await writeFile(join(folder, file), 'id: nightly\npipeline: ../pipeline.yaml\ncron: "0 3 * * *"\nnote: for people\n');
    expect(await answer(0, 'apply', file, '--param', 'to=out.safetensors')).toEqual({ id: 'nightly', outcome: 'created' });
    expect(await answer(0, 'apply', file, '--param', 'to=out.safetensors')).toEqual({ id: 'nightly', outcome: 'unchanged' });
    expect(await answer(0, 'apply', file, '--param', 'to=other.safetensors')).toEqual({ id: 'nightly', outcome: 'updated' });

    expect(await answer(0, 'backfill', 'nightly', '--from', '2026-01-01', '--to', '2026-01-03')).toMatchObject({
      id: 'nightly',
      starts: 2,
    });
    await until('nightly', (now) => settled(now) && now.runs.length === 2);
    const state = (await answer(0, 'describe', 'nightly')) as ScheduleState;
    expect(state).toMatchObject({
      name: 'from-file',
      note: 'for people',
      timing: { cron: '0 3 * * *' },
      link: `${UI}/namespaces/default/schedules/nightly`,
      runs: [
        { outcome: 'unchanged', link: `${UI}/namespaces/default/workflows/nightly-2026-01-02T03%3A00%3A00Z` },
        { outcome: 'completed', link: `${UI}/namespaces/default/workflows/nightly-2026-01-01T03%3A00%3A00Z` },
      ],
    });
    const { outputs } = await client.result(state.runs[1]!.workflow_id);
    expect(outputs).toMatchObject([{ uri: `file://${join(folder, 'other.safetensors')}` }]);

    expect(await answer(0, 'pause', 'nightly', '--note', 'holiday')).toEqual({ id: 'nightly', paused: true });
    expect(await answer(0, 'list')).toMatchObject({
      schedules: [{ id: 'nightly', paused: true, note: 'holiday', runs: [{ outcome: 'unchanged' }] }],
    });
    const text = (await run('describe', 'nightly')).stdout;
    expect(text).toMatch(/^Schedule nightly: pipeline from-file, paused\n {2}cron 0 3 \* \* \*\n {2}note holiday\n {2}2 runs started, /);
    expect(text).toContain('  unchanged\n    http://ui.invalid/');
    expect(await answer(0, 'unpause', 'nightly')).toEqual({ id: 'nightly', paused: false });
    expect((await run('list')).stdout).toMatch(/^nightly {2}pipeline {2}next 2\S+ {2}last unchanged\n$/);
    expect(await answer(0, 'delete', 'nightly')).toEqual({ id: 'nightly', deleted: true });
    expect(await answer(1, 'describe', 'nightly')).toMatchObject({ error: { type: 'CheckpointNotFoundError' } });
    expect((await run('list')).stdout).toContain('No schedules.');
  },
  LONG,
);

test(
  'a batch by flags, triggered; what failed in it is counted',
  async () => {
    await mkdir(join(folder, 'in'));
    await cp(fixture('good/state_dict.pt'), join(folder, 'in', 'good.pt'));
    await writeFile(join(folder, 'in', 'bad.pt'), 'no checkpoint');
    const stages =
      "stages:\n    - {type: source.local, path: '${item.uri}'}\n    - type: loader.weights_only\n    - {type: sink.publish, uri: 'out/${item.stem}.safetensors'}\n";
    await writeFile(join(folder, 'batch.yaml'), `items: {uri: in}\ncontinue_on_error: true\npipeline:\n  ${stages}`);
    const flags = ['--batch', 'batch.yaml', '--every', '1w', '--offset', '2h', '--paused'];
    expect(await answer(0, 'create', 'weekly', ...flags)).toEqual({ id: 'weekly', outcome: 'created' });
    expect(await answer(0, 'create', 'weekly', ...flags)).toEqual({ id: 'weekly', outcome: 'unchanged' });
    expect(await answer(2, 'create', 'weekly', '--batch', 'batch.yaml', '--every', '2w')).toMatchObject({
      error: { type: 'CheckpointConfigError' },
    });
    const triggered = (await answer(0, 'trigger', 'weekly')) as { workflow_id: string; link: string };
    expect(triggered.link).toBe(`${UI}/namespaces/default/workflows/${encodeURIComponent(triggered.workflow_id)}`);
    const { runs, kind } = await until('weekly', settled);
    expect(kind).toBe('batch');
    expect(runs).toMatchObject([{ workflow_id: triggered.workflow_id, outcome: 'completed', failed: 1 }]);
    expect(await answer(0, 'update', 'weekly', '--cron', '0 3 * * *')).toEqual({ id: 'weekly', outcome: 'updated' });
    expect(await client.schedules.describe('weekly')).toMatchObject({ paused: true, timing: { cron: '0 3 * * *' } });
  },
  LONG,
);

test.each([
  [
    'a wrong expression, which only the server sees',
    'id: x\npipeline: p.yaml\n\ncron: 0 99 * * *\n',
    'schedule.yaml:4:1: The server does not take',
  ],
  ['a typo', 'id: x\npipeline: p.yaml\n  \ncorn: 0 3 * * *\n', 'schedule.yaml:4:1: Unknown key `corn`. Did you mean `cron`?'],
  ['no id', 'pipeline: p.yaml\ncron: 0 3 * * *\n', 'schedule.yaml:1:1: A schedule has an `id`'],
  ['a pipeline that is not there', 'id: x\npipeline: q.yaml\ncron: 0 3 * * *\n', 'schedule.yaml:2:1: There is no pipeline document'],
  [
    'an error in the pipeline, where it stands there',
    'id: x\npipeline: wrong.yaml\ncron: 0 3 * * *\n',
    'wrong.yaml:2:5: Unknown stage type',
  ],
])('exit 2 with file, line and column: %s', async (_name, text, message) => {
  await writeFile(join(folder, 'p.yaml'), `stages:\n  - {type: source.local, path: ${fixture('good/state_dict.pt')}}\n`);
  await writeFile(join(folder, 'wrong.yaml'), 'stages:\n  - type: source.lokal\n');
  await writeFile(join(folder, 'schedule.yaml'), text);
  expect(await answer(2, 'apply', 'schedule.yaml')).toMatchObject({
    error: {
      type: 'CheckpointConfigError',
      message: expect.stringContaining(join(folder, message.split(':')[0]!) + message.slice(message.indexOf(':'))),
    },
  });
  expect(await entries()).toEqual([]);
});

test(
  'with no server that stays, it says so',
  async () => {
    const { code, stdout } = await ckpt(['schedule', 'list', '--json'], { cwd: folder, env: { XDG_STATE_HOME: join(folder, 'state') } })
      .ended;
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { type: 'CheckpointConfigError', message: expect.stringContaining('`ckpt dev`') } });
  },
  LONG,
);

test('what a scheduled pipeline is warned of is said when it is made: later nobody reads it', async () => {
  const source = `  - {type: source.local, path: ${fixture('good/lightning_trained.ckpt')}}`;
  await writeFile(
    join(folder, 'p.yaml'),
    ['stages:', source, '  - type: loader.warm_start', `  - {type: sink.publish, uri: ${join(folder, 'o.safetensors')}}`].join('\n'),
  );
  await writeFile(join(folder, 's.yaml'), 'id: warned\nevery: 1d\npaused: true\npipeline: p.yaml\n');
  for (const args of [
    ['create', 'first', '--every', '1d', '--paused', '--pipeline', 'p.yaml'],
    ['apply', 's.yaml'],
  ])
    expect(await run(...args)).toMatchObject({ code: 0, stderr: expect.stringContaining('warning training_state_not_written: ') });
});
