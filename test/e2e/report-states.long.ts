/** Reports and bundles of runs that are not simply done: under way, waiting, cancelled, with and without a worker; batches in several runs. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import JSZip from 'jszip';
import type { BatchContents, RunContents } from '../../src/report/contents.ts';
import { ckpt, type Ended, type Running } from '../support/cli.ts';
import { startHoldingServer, type HoldingServer } from '../support/holding-server.ts';
import { fixture } from '../support/project.ts';
import { contentsIn } from '../support/reports.ts';
import { devServer } from '../support/temporal.ts';

const LONG = 300_000;
/** Longer than its header. */
const SERVED = 512 * 1024;

let folder: string;
let environment: TestWorkflowEnvironment;
let server: HoldingServer;
let worker: Running | null = null;
let env: Readonly<Record<string, string>>;

const call = (...args: readonly string[]): Promise<Ended> => ckpt(args, { cwd: folder, env }).ended;

async function startWorker(): Promise<void> {
  const running = ckpt(['worker'], { cwd: folder, env });
  worker = running;
  while (!running.said().includes('Worker polls')) await sleep(50);
}

async function stopWorker(): Promise<void> {
  worker?.process.kill('SIGTERM');
  await worker?.ended;
  worker = null;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-report-'));
  environment = await devServer();
  const header = Buffer.from(JSON.stringify({ weight: { dtype: 'U8', shape: [SERVED], data_offsets: [0, SERVED] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  await writeFile(join(folder, 'served.safetensors'), Buffer.concat([length, header, Buffer.alloc(SERVED)]));
  server = await startHoldingServer(join(folder, 'served.safetensors'), SERVED);
  env = {
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] ?? join(process.env['HOME'] ?? '', '.cache'),
    TEMPORAL_ADDRESS: environment.address,
    CKPT_ALLOW_PRIVATE_ADDRESSES: '1',
  };
  await writeFile(
    join(folder, 'held.yaml'),
    `name: held\nstages:\n  - {type: source.http, url: "${server.url}"}\n  - {type: loader.weights_only}\n  - {type: sink.publish, uri: "held.safetensors"}\n`,
  );
  await writeFile(
    join(folder, 'asks.yaml'),
    'name: asks\non_error: wait\nstages:\n  - {type: source.local, path: nowhere.ckpt}\n  - {type: loader.weights_only}\n  - {type: sink.publish, uri: "asks.safetensors"}\n',
  );
  await startWorker();
}, LONG);

afterAll(async () => {
  await stopWorker();
  await server?.close();
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
}, LONG);

async function reportOf(id: string): Promise<RunContents> {
  const { code, stdout, stderr } = await call('report', id, '-o', `${id}.html`, '--json');
  expect([code, stderr]).toEqual([0, '']);
  const contents = contentsIn(await readFile(join(folder, `${id}.html`), 'utf8')) as RunContents;
  expect((JSON.parse(stdout) as { gaps: unknown }).gaps).toEqual(contents.gaps);
  return contents;
}

async function statusOf(id: string): Promise<string> {
  return (JSON.parse((await call('status', id, '--json')).stdout) as { status: string }).status;
}

test(
  'a run under way, then without a worker, then cancelled, and that without a worker, too',
  async () => {
    expect((await call('run', 'held.yaml', '--detach', '--id', 'held')).code).toBe(0);
    const published = async (): Promise<boolean> => (await readdir(folder)).some((name) => name.endsWith('.partial'));
    while (!(await published())) await sleep(50);

    const running = await reportOf('held');
    expect(running).toMatchObject({ status: 'running', error: null, gaps: [], outputs: [], tensorsAre: 'planned' });
    expect(running.stages.map(({ status }) => status)).toEqual(['completed', 'completed', 'running']);
    expect(running.tensors!.name).toEqual(['weight']);

    await stopWorker();
    const alone = await reportOf('held');
    expect(alone).toMatchObject({ status: 'running', tensorsAre: 'planned' });
    expect(alone.stages.map(({ status }) => status)).toEqual(['pending', 'pending', 'pending']);
    expect(alone.gaps).toEqual([expect.stringMatching(/^No worker tells how held stands.*So how far it has come is not known here\.$/)]);

    await startWorker();
    expect(JSON.parse((await call('cancel', 'held', '--json')).stdout)).toMatchObject({ status: 'cancelled' });
    expect(await published()).toBe(false);
    const cancelled = await reportOf('held');
    expect(cancelled).toMatchObject({ status: 'cancelled', gaps: [], outputs: [], error: { details: { reason: 'cancelled' } } });
    expect(cancelled.stages.map(({ status }) => status)).toEqual(['completed', 'completed', 'cancelled']);

    await stopWorker();
    const afterwards = await reportOf('held');
    expect({ ...afterwards, created: '' }).toEqual({ ...cancelled, created: '' });
    expect((await call('bundle', 'held', '-o', 'held.zip')).code).toBe(0);
    expect((await call('replay', 'held.zip')).code).toBe(0);
    await startWorker();
  },
  LONG,
);

test(
  'a run that waits for an answer, and one that failed after one',
  async () => {
    expect((await call('run', 'asks.yaml', '--detach', '--id', 'asks')).code).toBe(0);
    while ((await statusOf('asks')) !== 'waiting') await sleep(50);
    const waiting = await reportOf('asks');
    expect(waiting).toMatchObject({ status: 'waiting', waiting: { stage: { index: 0, type: 'source.local' } }, tensors: null });
    expect((await call('resolve', 'asks', '--abort')).code).toBe(0);
    while ((await statusOf('asks')) !== 'failed') await sleep(50);
    const failed = await reportOf('asks');
    expect(failed).toMatchObject({ status: 'failed', waiting: null, error: { type: 'CheckpointNotFoundError' }, gaps: [] });
  },
  LONG,
);

test(
  'the bundle of a batch has the history of each of its runs, and all of them are replayed',
  async () => {
    await mkdir(join(folder, 'in'));
    for (const index of [0, 1, 2, 3, 4])
      await writeFile(join(folder, 'in', `${index}.ckpt`), await readFile(fixture('good/lightning_trained.ckpt')));
    await writeFile(
      join(folder, 'batch.yaml'),
      'name: several\nitems: {uri: in/, glob: "*.ckpt"}\nmax_concurrent: 1\ncontinue_after: 2\npipeline:\n  stages:\n    - {type: source.local, path: "${item.uri}"}\n    - {type: loader.weights_only}\n    - {type: sink.publish, uri: "out/${item.stem}.safetensors"}\n',
    );
    const run = await call('batch', 'run', 'batch.yaml', '--id', 'several');
    expect([run.code, run.stdout]).toEqual([0, expect.stringContaining('5 of 5')]);
    // Left by the worker, beside results in its workspace.
    const [, beside] = /^ {2}report (file:.*\.jsonl\.report\.html)$/m.exec(run.stdout)!;
    const left = contentsIn(await readFile(fileURLToPath(beside!), 'utf8')) as BatchContents;
    expect(left).toMatchObject({ kind: 'batch', gaps: [], result: { status: 'completed', total: 5 }, document: { name: 'several' } });
    expect(left.items!.item).toHaveLength(5);
    const made = await call('bundle', 'several', '-o', 'several.zip', '--json');
    expect(made.code).toBe(0);
    const histories = ['history.json', 'history-2.json', 'history-3.json'];
    expect(JSON.parse(made.stdout)).toMatchObject({
      files: ['bundle.json', 'pipeline.json', 'result.json', ...histories, 'report.html'],
      gaps: [],
    });
    const zip = await JSZip.loadAsync(await readFile(join(folder, 'several.zip')));
    // As it was begun.
    expect(JSON.parse(await zip.file('pipeline.json')!.async('string'))).toMatchObject({ items: { glob: '*.ckpt' }, continue_after: 2 });
    const contents = contentsIn(await zip.file('report.html')!.async('string')) as BatchContents;
    expect(contents.items!.item).toHaveLength(5);

    const replayed = await call('replay', 'several.zip', '--json');
    expect(replayed.code).toBe(0);
    expect(JSON.parse(replayed.stdout)).toMatchObject({ replays: true, histories: histories.map((history) => ({ history })) });
    const second = await zip.file('history-2.json')!.async('string');
    zip.file('history-2.json', second.replaceAll('several/3/', 'several/7/'));
    await writeFile(join(folder, 'other.zip'), await zip.generateAsync({ type: 'uint8array' }));
    const other = await call('replay', 'other.zip');
    expect([other.code, other.stderr]).toEqual([1, expect.stringMatching(/^CheckpointIncompatibleError: .*: history-2\.json: /)]);
  },
  LONG,
);

test(
  'what is asked of a batch is not asked of a run, and the other way round',
  async () => {
    for (const [words, message] of [
      [
        ['status', 'several'],
        'several is a batch, and not the run of a pipeline: its commands are those of `ckpt batch`, its methods those of `client.batch`.',
      ],
      [
        ['cancel', 'several'],
        'several is a batch, and not the run of a pipeline: its commands are those of `ckpt batch`, its methods those of `client.batch`.',
      ],
      [['batch', 'status', 'held'], 'held is the run of a pipeline, not a batch: leave out `batch` in the command, or in `client.batch`.'],
      [['batch', 'pause', 'held'], 'held is the run of a pipeline, not a batch: leave out `batch` in the command, or in `client.batch`.'],
    ] as const) {
      const { code, stdout } = await call(...words, '--json');
      expect([words, code, JSON.parse(stdout)]).toEqual([
        words,
        2,
        { error: { type: 'CheckpointConfigError', message, details: expect.anything() } },
      ]);
    }
  },
  LONG,
);
