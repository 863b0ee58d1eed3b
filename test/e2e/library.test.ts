/** The library as another program imports it, against a real server. */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Connection } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Services } from '../../activities/services.ts';
import {
  CheckpointClient,
  CheckpointConfigError,
  CheckpointLoadError,
  CheckpointNotFoundError,
  CheckpointSourceError,
  CheckpointTimeoutError,
  type BatchResult,
  type PipelineInput,
  type PipelineProgress,
} from '../../src/index.ts';
import { TASK_QUEUE } from '../../src/pipeline/contract.ts';
import { start } from '../support/cli.ts';
import { writeLargeSafetensors } from '../support/large-file.ts';
import { compiled, fixture, PROJECT_ROOT } from '../support/project.ts';
import { devServer, servicesOf, workerOf } from '../support/temporal.ts';

const LONG = 180_000;

let environment: TestWorkflowEnvironment;
let folder: string;
let queue: string;
let client: CheckpointClient;

beforeAll(async () => {
  environment = await devServer();
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-library-'));
  queue = randomUUID();
  client = new CheckpointClient({ client: environment.client }, { taskQueue: queue });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const pipeline = (source = fixture('good/state_dict.pt')): PipelineInput => ({
  name: 'library',
  stages: [
    { type: 'source.local', path: source },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: join(folder, 'out.safetensors') },
  ],
});

async function working<T>(act: () => Promise<T>, disturb: (services: Services) => Partial<Services> = () => ({})): Promise<T> {
  const services = servicesOf(join(folder, 'workspace'));
  const worker = await workerOf(environment, queue, { ...services, ...disturb(services) });
  return worker.runUntil(act);
}

const thrown = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error,
  );

test('a workflow understands what is short in a document, whoever starts it', async () => {
  const document: PipelineInput = {
    source: fixture('good/state_dict.pt'),
    stages: [{ type: 'weights_only' }, { type: 'publish', uri: join(folder, 'out.safetensors') }],
    'x-anchors': {},
  };
  const options = { workflowId: randomUUID(), taskQueue: queue, args: [document] };
  const result = await working(() => environment.client.workflow.execute('checkpointPipeline', options));
  const types = ['source.local', 'loader.weights_only', 'sink.publish'];
  expect(result).toMatchObject({ status: 'completed', stages: types.map((type) => ({ type, status: 'completed' })) });
});

test('execute gives the result; a failed run throws its own class with its details, and settled gives the result all the same', async () => {
  await working(async () => {
    expect(await client.execute(pipeline())).toMatchObject({ status: 'completed', outputs: [{ format: 'safetensors' }], error: null });
    const run = await client.start(pipeline(fixture('corrupt/truncated_lightning_trained_half.ckpt')), { workflowId: 'bad' });
    const error = await thrown(client.result(run));
    expect(error).toBeInstanceOf(CheckpointLoadError);
    expect(error).toMatchObject({ code: 'CheckpointLoadError', details: { pipeline_stage_type: 'source.local' } });
    expect(await client.settled('bad')).toMatchObject({ status: 'failed', error: { type: 'CheckpointLoadError' } });
    expect(await client.status('bad')).toMatchObject({ status: 'failed', run_id: run.runId });
  });
  // Nobody works on the queue any more, and what has ended is told all the same.
  expect(await client.status('bad')).toMatchObject({ status: 'failed', stages: [{ type: 'source.local', status: 'failed' }, {}, {}] });
});

test('what is wrong is said before anything is started', async () => {
  const typo = { ...pipeline(), stagse: [] } as PipelineInput;
  expect(await thrown(client.start(typo))).toBeInstanceOf(CheckpointConfigError);
  const items = Array.from({ length: 40_000 }, (_, index) => `s3://bucket/some/folder/of/checkpoints/model-${index}.ckpt`);
  const large = await thrown(client.batch.start({ items, pipeline: pipeline() }));
  expect(large).toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining('manifest') });
  const relative = await thrown(client.start(pipeline('last.ckpt')));
  expect(relative).toMatchObject({ code: 'CheckpointConfigError', details: { config_path: 'stages[0].path' } });
  const yearly = { pipeline: pipeline('last.ckpt'), cron: '0 3 1 1 *' };
  expect(await thrown(client.schedules.create('relative', yearly))).toMatchObject({ details: { config_path: 'stages[0].path' } });
  // A program without a compiler may give anything.
  const nothing = undefined as never;
  for (const refused of [
    client.start(nothing),
    client.execute(nothing),
    client.start(nothing, { workflowId: 'nothing' }),
    client.batch.start(nothing),
    client.schedules.create('nothing', nothing),
    client.status(nothing),
    client.settled({} as never),
    client.cancel(''),
    client.resolveFailure(nothing, { action: 'skip' }),
  ])
    expect(await thrown(refused)).toBeInstanceOf(CheckpointConfigError);
  expect(await thrown(client.status('nobody'))).toBeInstanceOf(CheckpointNotFoundError);
  expect(await thrown(client.result('nobody'))).toBeInstanceOf(CheckpointNotFoundError);
  expect(await thrown(client.cancel('nobody'))).toBeInstanceOf(CheckpointNotFoundError);
});

test(
  'watch gives each change up to the end; a run that waits is answered; wrong answers throw',
  async () => {
    await working(async () => {
      const run = await client.start({ ...pipeline(join(folder, 'later.pt')), on_error: 'wait' });
      const seen: PipelineProgress[] = [];
      for await (const now of client.watch(run, { interval: 50 })) {
        seen.push(now);
        if (now.waiting === null || seen.filter(({ status }) => status === 'waiting').length > 1) continue;
        const wrong = { action: 'retry', options: { pth: 'x' } } as const;
        expect(await thrown(client.resolveFailure(run, wrong))).toBeInstanceOf(CheckpointConfigError);
        const answer = { action: 'retry', options: { path: fixture('good/state_dict.pt') } } as const;
        expect(await client.resolveFailure(run, answer)).toEqual({ stage: { index: 0, type: 'source.local' }, action: 'retry' });
      }
      expect(seen.map(({ status }) => status)).toEqual(expect.arrayContaining(['waiting', 'completed']));
      expect(seen.at(-1)).toMatchObject({ status: 'completed', transfer: null });
      const notWaiting = await thrown(client.resolveFailure(run, { action: 'skip' }));
      expect(notWaiting).toMatchObject({ code: 'CheckpointNotFoundError', message: expect.stringContaining('has ended (completed)') });
      expect(await thrown(client.resolveFailure('nobody', { action: 'skip' }))).toBeInstanceOf(CheckpointNotFoundError);
    });
  },
  LONG,
);

test(
  'watch shows the bytes of a transfer; cancel ends the run, and its result throws',
  async () => {
    const large = join(folder, 'large.safetensors');
    await writeLargeSafetensors(large, 12, 8);
    // A slow disk, so that the sink reports on its way.
    const slow = (services: Services): Partial<Services> => ({
      openPinned: async (file) => {
        const source = await services.openPinned(file);
        const { uri, size, identity } = source;
        return {
          uri,
          size,
          identity,
          read: (...args) => source.read(...args),
          readInto: async (...args) => (await sleep(600), source.readInto(...args)),
          close: () => source.close(),
        };
      },
    });
    await working(async () => {
      const run = await client.start(pipeline(large));
      for await (const { transfer, status } of client.watch(run, { interval: 50 })) {
        expect(status).toBe('running');
        if (transfer === null) continue;
        expect(transfer.size).toBeGreaterThan(96 * 1024 * 1024);
        expect(transfer.offset).toBeGreaterThan(0);
        expect(transfer.offset).toBeLessThan(transfer.size);
        break;
      }
      await client.cancel(run);
      expect(await client.settled(run)).toMatchObject({ status: 'cancelled' });
      expect(await thrown(client.result(run))).toMatchObject({ code: 'CheckpointError', details: { reason: 'cancelled' } });
    }, slow);
  },
  LONG,
);

test(
  'a stage that is tried again is told with its last failure',
  async () => {
    let away = true;
    const failing = (services: Services): Partial<Services> => ({
      open: async (...args) => {
        if (away) throw new CheckpointSourceError('The store is away.', 's3://bucket/x');
        return services.open(...args);
      },
    });
    await working(async () => {
      const run = await client.start({ ...pipeline(), max_retries: 60, retry: { initial_interval: 0.5, backoff: 1 } });
      const seen: PipelineProgress[] = [];
      for await (const now of client.watch(run, { interval: 50 })) {
        seen.push(now);
        if (now.retrying === null) continue;
        expect(now.retrying).toEqual({ activity: 'source.local', attempt: expect.any(Number), error: 'The store is away.' });
        expect((await client.status(run)).retrying).not.toBeNull();
        away = false;
      }
      expect(away).toBe(false);
      expect(seen.at(-1)).toMatchObject({ status: 'completed', transfer: null, retrying: null });
    }, failing);
  },
  LONG,
);

test(
  'with no worker up, the status says so, and a watch goes on until told to stop',
  async () => {
    const run = await client.start(pipeline());
    expect(await thrown(client.status(run))).toBeInstanceOf(CheckpointTimeoutError);
    const seen: PipelineProgress[] = [];
    for await (const now of client.watch(run, { interval: 10, signal: AbortSignal.timeout(100) })) seen.push(now);
    expect(seen).toEqual([]);
    await client.cancel(run);
  },
  LONG,
);

test(
  'batches: paused, resumed, watched to the end, failed items tried again',
  async () => {
    await working(async () => {
      const { batch } = client;
      const items = [
        fixture('good/state_dict.pt'),
        fixture('corrupt/truncated_lightning_trained_half.ckpt'),
        fixture('good/lightning_trained.ckpt'),
      ];
      const template = pipeline('${item.uri}');
      const stages = [...template.stages.slice(0, 2), { type: 'sink.publish', uri: join(folder, 'out', '${item.stem}.safetensors') }];
      const run = await batch.start({
        items,
        pipeline: { ...template, stages },
        continue_on_error: true,
        results: join(folder, 'r.jsonl'),
      });
      await batch.pause(run);
      await batch.resume(run);
      const seen: BatchResult[] = [];
      for await (const now of batch.watch(run, { interval: 50 })) seen.push(now);
      expect(seen.at(-1)).toMatchObject({ status: 'completed', total: 3, completed: 2, failed: 1 });
      expect(await batch.result(run)).toMatchObject({ failures: [{ code: 'CheckpointLoadError' }] });
      const again = await batch.retry(run);
      expect(again.workflowId).toMatch(new RegExp(`^${run.workflowId}-retry-`));
      expect(await batch.result(again)).toMatchObject({ total: 1, failed: 1 });
      const fine = await batch.start({ items: items.slice(0, 1), pipeline: { ...template, stages } });
      await batch.result(fine);
      expect(await thrown(batch.retry(fine))).toMatchObject({
        code: 'CheckpointConfigError',
        message: expect.stringContaining(`Nothing failed, was cancelled or not started in the batch ${fine.workflowId}`),
      });
      const strict = await batch.start({ items, pipeline: { ...template, stages } });
      expect(await thrown(batch.result(strict))).toMatchObject({
        code: 'CheckpointError',
        details: { failures: [{ code: 'CheckpointLoadError' }] },
      });
    });
  },
  LONG,
);

test('a connection will do in place of a client', async () => {
  const connection = await Connection.connect({ address: environment.address });
  try {
    const other = new CheckpointClient({ connection, namespace: 'default' }, { taskQueue: queue });
    const run = await other.start(pipeline());
    await other.cancel(run);
  } finally {
    await connection.close();
  }
});

test('a client that was closed says so, whatever is asked of it', async () => {
  const script = `
    const { CheckpointClient } = await import('checkpoint-pipeline');
    const client = await CheckpointClient.connect({ taskQueue: '${queue}' });
    const run = await client.start(${JSON.stringify(pipeline())});
    const waiting = client.settled(run);
    waiting.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await client.close();
    await client.close();
    const asks = [
      () => waiting,
      () => client.settled(run),
      () => client.status(run),
      () => client.start(${JSON.stringify(pipeline())}),
      () => client.watch(run).next(),
      () => client.batch.status(run),
      () => client.schedules.describe('x'),
      () => client.schedules.list().next(),
    ];
    for (const ask of asks) console.log(await ask().then(() => 'answered', ({ code, message }) => code + ': ' + message));
    process.exit(0);
  `;
  const place = { cwd: PROJECT_ROOT, env: { TEMPORAL_ADDRESS: environment.address } };
  const { code, stdout, stderr } = await start([process.execPath, '--no-warnings', '--input-type=module', '-e', script], place).ended;
  expect([code, stderr]).toEqual([0, '']);
  const lines = stdout.trim().split('\n');
  expect(lines).toHaveLength(8);
  for (const line of lines) expect(line).toMatch(/^CheckpointConfigError: This client was closed\./);
});

test('closing a client over somebody else’s connection closes nothing', async () => {
  await client.close();
  expect(await thrown(client.status('nobody'))).toBeInstanceOf(CheckpointNotFoundError);
});

/** Prints every module that is loaded, of both kinds, once `act` has been done. */
const listing = (act: string): string => `
  import { createRequire, register } from 'node:module';
  const hook = "import { writeSync } from 'node:fs'; export async function load(url, context, next) { writeSync(1, url + '\\\\n'); return next(url, context); }";
  register('data:text/javascript,' + encodeURIComponent(hook));
  ${act}
  process.stdout.write(Object.keys(createRequire('${PROJECT_ROOT}/').cache).join('\\n') + '\\n');
  process.stdout.write(process.report.getReport().sharedObjects.filter((name) => name.endsWith('.node')).join('\\n') + '\\n');
  process.exit(0);
`;

async function loaded(act: string): Promise<readonly string[]> {
  const place = { cwd: PROJECT_ROOT, env: { TEMPORAL_ADDRESS: environment.address } };
  const { code, stdout, stderr } = await start([process.execPath, '--no-warnings', '--input-type=module', '-e', listing(act)], place).ended;
  expect([code, stderr]).toEqual([0, '']);
  return stdout.split('\n');
}

const FOREIGN = { worker: /@temporalio\/(worker|core-bridge|activity)\//, aws: /@aws-sdk\// };

test('it loads no worker and no AWS SDK, whatever is asked of it', async () => {
  const input = JSON.stringify(pipeline());
  queue = TASK_QUEUE;
  const act = `
    const { CheckpointClient } = await import('checkpoint-pipeline');
    const client = await CheckpointClient.connect();
    const run = await client.start(${input});
    await client.status(run);
    for await (const now of client.watch(run)) if (now.status !== 'running') await client.result(run);
    await client.close();
  `;
  const modules = await working(() => loaded(act));
  expect(modules.filter((name) => name.endsWith('dist/src/index.js'))).toHaveLength(1);
  expect(modules.filter((name) => name.includes('@temporalio/client/')).length).toBeGreaterThan(5);
  for (const foreign of Object.values(FOREIGN)) expect(modules.filter((name) => foreign.test(name))).toEqual([]);
});

test('the list of modules would show them', async () => {
  const modules = await loaded(
    `await import('${compiled('src/app/worker.js')}'); await import('${compiled('src/io/s3/aws/connect.js')}');`,
  );
  for (const foreign of Object.values(FOREIGN)) expect(modules.filter((name) => foreign.test(name)).length).toBeGreaterThan(0);
});

/** A program as its author writes it; each mistake in it must be one to the compiler. */
const PROGRAM = `
import { CheckpointClient, CheckpointLoadError, type PipelineInput } from 'checkpoint-pipeline';
const client = await CheckpointClient.connect();
const pipeline: PipelineInput = { stages: [{ type: 'source.local', path: '/data/last.ckpt' }] };
const { outputs } = await client.execute(pipeline, { workflowId: 'x' });
const sizes: readonly number[] = outputs.map(({ size }) => size);
for await (const { status, transfer } of client.watch('x')) console.log(status, transfer?.offset, sizes, CheckpointLoadError.name);
// @ts-expect-error
await client.start({ stages: [{ path: '/data/last.ckpt' }] });
// @ts-expect-error
await client.start({ stages: [], on_error: 'ask' });
// @ts-expect-error
await client.resolveFailure('x', { action: 'again' });
// @ts-expect-error
await client.batch.start({ pipeline });
`;

test(
  'its types come with it',
  async () => {
    await mkdir(join(folder, 'node_modules'));
    await symlink(PROJECT_ROOT, join(folder, 'node_modules', 'checkpoint-pipeline'));
    await writeFile(join(folder, 'package.json'), '{"type": "module"}');
    await writeFile(join(folder, 'program.ts'), PROGRAM);
    const options = [
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--target',
      'es2023',
      '--module',
      'nodenext',
      '--typeRoots',
      join(PROJECT_ROOT, 'node_modules/@types'),
    ];
    const tsc = [process.execPath, join(PROJECT_ROOT, 'node_modules/typescript/bin/tsc'), ...options, '--types', 'node', 'program.ts'];
    expect(await start(tsc, { cwd: folder, env: {} }).ended).toMatchObject({ stdout: '', code: 0 });
  },
  LONG,
);
