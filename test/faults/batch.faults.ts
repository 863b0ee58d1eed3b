/**
 * A batch of a thousand items that loses a worker and its server on the way, over several continue-as-new: every item has exactly
 * one outcome, and every output is what its source says. `CKPT_BATCH_ITEMS` takes another number.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import { CheckpointClient } from '../../src/app/client.ts';
import { installRuntime } from '../../src/app/runtime.ts';
import { findTemporalBinary } from '../../src/app/temporal/binary.ts';
import { FINISH_ACTIVITY, LIST_ACTIVITY, type BatchInput, type BatchResult, type Outcome } from '../../src/pipeline/batch.ts';
import { TASK_QUEUE } from '../../src/pipeline/contract.ts';
import { ckpt, type Running } from '../support/cli.ts';
import { freePort } from '../support/ports.ts';
import { servicesOf, workerOf } from '../support/temporal.ts';
import { tinySafetensors } from '../support/tiny-safetensors.ts';

const ITEMS = Number(process.env['CKPT_BATCH_ITEMS'] ?? 1000);
/** A bound against hangs, nothing else: beside other load an item takes a quarter of a second. */
const LONG = 300_000 + ITEMS * 1500;

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
}, 60_000);

const inputOver = (folder: string): BatchInput => ({
  items: { uri: join(folder, 'in') },
  pipeline: {
    stages: [
      { type: 'source.local', path: '${item.uri}' },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: join(folder, 'out', '${item.key}') },
    ],
  },
});

async function outcomesOf(result: BatchResult): Promise<readonly Outcome[]> {
  const text = await readFile(fileURLToPath(result.results!), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Outcome);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** The official server on a database file, as `kill -9` leaves it. */
async function serverIn(folder: string, port: number): Promise<ChildProcess> {
  const binary = await findTemporalBinary({ log: () => undefined });
  const pragmas = ['--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=normal'];
  const place = ['--headless', '--ip', '127.0.0.1', '--port', `${port}`, '--db-filename', join(folder, 'temporal.db')];
  const child = spawn(binary, ['server', 'start-dev', '--log-level', 'never', ...place, ...pragmas], { stdio: 'ignore' });
  ended.push(() => stop(child));
  return child;
}

async function clientAt(address: string): Promise<Client> {
  for (;;) {
    const connection = await Connection.connect({ address, connectTimeout: '1s' }).catch(() => null);
    if (connection === null) {
      await sleep(100);
      continue;
    }
    ended.push(() => connection.close());
    const client = new Client({ connection });
    // The namespace comes a moment after the port.
    while (!(await client.workflow.count().then(Boolean, () => false))) await sleep(100);
    return client;
  }
}

test(
  `${ITEMS} items, a killed worker and a restarted server: one outcome each, outputs as the sources`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ckpt-batch-faults-'));
    ended.push(() => rm(folder, { recursive: true, force: true }));
    await mkdir(join(folder, 'in'));
    const broken = (index: number): boolean => index % 100 === 42;
    for (let index = 0; index < ITEMS; index++) {
      const whole = tinySafetensors(index);
      await writeFile(join(folder, 'in', `m${index}.safetensors`), broken(index) ? whole.subarray(0, 40) : whole);
    }
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const server = await serverIn(folder, port);
    const client = await clientAt(address);
    const batches = new CheckpointClient({ client }).batch;
    const env = { TEMPORAL_ADDRESS: address, CKPT_WORKSPACE: join(folder, 'workspace') };
    const worker = (): Running => {
      const one = ckpt(['worker'], { cwd: folder, env });
      ended.push(() => stop(one.process));
      return one;
    };

    const first = worker();
    const input: BatchInput = {
      ...inputOver(folder),
      max_concurrent: 32,
      continue_after: Math.ceil(ITEMS / 5),
      continue_on_error: true,
    };
    await batches.start(input, { workflowId: 'faults' });
    const reached = async (count: number): Promise<void> => {
      for (;;) {
        const now = await batches.status('faults').catch(() => null);
        if (now !== null && now.completed >= count) return;
        await sleep(100);
      }
    };
    await reached(ITEMS / 5);
    await stop(first.process);
    const second = worker();
    await reached(ITEMS / 2);
    await stop(server);
    await serverIn(folder, port);

    const result = await batches.settled('faults');
    expect(second.process.exitCode).toBeNull();
    const failed = Array.from({ length: ITEMS }, (_, index) => index).filter(broken);
    expect(result).toMatchObject({ status: 'completed', total: ITEMS, failed: failed.length, cancelled: 0, running: 0 });
    expect(result.completed + result.unchanged).toBe(ITEMS - failed.length);
    expect(result.failures_by_code).toEqual({ CheckpointLoadError: failed.length });
    const lines = await outcomesOf(result);
    expect(lines.map(({ index }) => index)).toEqual(Array.from({ length: ITEMS }, (_, index) => index));
    expect(new Set(lines.map(({ uri }) => uri)).size).toBe(ITEMS);
    const numberOf = (item: string): number => Number(/\d+/.exec(item)![0]);
    const bad = lines.filter(({ status }) => status === 'failed');
    expect(bad.map(({ item }) => numberOf(item)).sort((a, b) => a - b)).toEqual(failed);
    for (const { error } of bad) expect(error).toMatchObject({ type: 'CheckpointLoadError', message: expect.any(String) });
    for (const { item, status } of lines)
      if (status !== 'failed')
        expect((await readFile(join(folder, 'out', item))).subarray(-16)).toEqual(tinySafetensors(numberOf(item)).subarray(-16));
    const runs = [];
    for await (const run of client.workflow.list({ query: "WorkflowId = 'faults'" })) runs.push(run.status.name);
    expect(runs.filter((status) => status === 'CONTINUED_AS_NEW').length).toBeGreaterThanOrEqual(3);
  },
  LONG,
);

test.each([LIST_ACTIVITY, FINISH_ACTIVITY])(
  'the server is lost while %s is under way, and what it came to finds nobody',
  async (activity) => {
    const folder = await mkdtemp(join(tmpdir(), 'ckpt-batch-lost-'));
    ended.push(() => rm(folder, { recursive: true, force: true }));
    await mkdir(join(folder, 'in'));
    for (let index = 0; index < 5; index++) await writeFile(join(folder, 'in', `m${index}.safetensors`), tinySafetensors(index));
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const server = await serverIn(folder, port);
    const client = await clientAt(address);
    installRuntime();
    const nativeConnection = await NativeConnection.connect({ address });
    ended.push(() => nativeConnection.close());
    let begun = (): void => undefined;
    let lose = (): void => undefined;
    const underWay = new Promise<void>((resolve) => (begun = resolve));
    const lost = new Promise<void>((resolve) => (lose = resolve));
    let calls = 0;
    const worker = await workerOf({ nativeConnection }, TASK_QUEUE, servicesOf(join(folder, 'workspace')), (activities) => ({
      ...activities,
      async [activity](input: never) {
        if (++calls === 1) {
          begun();
          await lost;
        }
        return activities[activity]!(input);
      },
    }));
    await worker.runUntil(async () => {
      const batches = new CheckpointClient({ client }).batch;
      await batches.start(inputOver(folder), { workflowId: 'lost' });
      await underWay;
      await stop(server);
      lose();
      // It is done, and said in vain, before there is a server again.
      await sleep(1000);
      await serverIn(folder, port);
      const result = await batches.settled('lost');
      expect(result).toMatchObject({ status: 'completed', total: 5, completed: 5, unchanged: 0, failed: 0, cancelled: 0, running: 0 });
      expect((await outcomesOf(result)).map(({ index, status }) => [index, status])).toEqual(
        [0, 1, 2, 3, 4].map((index) => [index, 'completed']),
      );
      const runs = [];
      for await (const run of client.workflow.list({ query: "WorkflowType = 'checkpointPipeline'" })) runs.push(run.workflowId);
      expect(new Set(runs).size).toBe(5);
      expect(runs).toHaveLength(5);
    });
  },
  LONG,
);
