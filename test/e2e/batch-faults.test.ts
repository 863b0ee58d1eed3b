/**
 * A batch that loses a worker and its server on the way. `npm run test:batch` takes a thousand items for it; by default there
 * are sixty.
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
import { queryBatch, startBatch, waitForBatch } from '../../src/app/batch-client.ts';
import { findTemporalBinary } from '../../src/app/temporal/binary.ts';
import type { Outcome } from '../../src/pipeline/batch.ts';
import { ckpt, type Running } from '../support/cli.ts';
import { freePort } from '../support/ports.ts';

const ITEMS = Number(process.env['CKPT_BATCH_ITEMS'] ?? 60);
const LONG = 60_000 + ITEMS * 2000;

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
}, 60_000);

function tiny(index: number): Buffer {
  const header = Buffer.from(JSON.stringify({ weight: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }));
  const bytes = Buffer.alloc(8 + header.length + 16);
  bytes.writeBigUInt64LE(BigInt(header.length));
  header.copy(bytes, 8);
  bytes.writeFloatLE(index, 8 + header.length);
  return bytes;
}

test(
  `${ITEMS} items, a killed worker and a restarted server: one outcome each, outputs as the sources`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ckpt-batch-faults-'));
    ended.push(() => rm(folder, { recursive: true, force: true }));
    await mkdir(join(folder, 'in'));
    const broken = (index: number): boolean => index % 100 === 42;
    for (let index = 0; index < ITEMS; index++)
      await writeFile(join(folder, 'in', `m${index}.safetensors`), broken(index) ? tiny(index).subarray(0, 40) : tiny(index));

    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const binary = await findTemporalBinary({ log: () => undefined });
    const server = (): ChildProcess => {
      const pragmas = ['--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=normal'];
      const place = ['--headless', '--ip', '127.0.0.1', '--port', `${port}`, '--db-filename', join(folder, 'temporal.db')];
      return spawn(binary, ['server', 'start-dev', '--log-level', 'never', ...place, ...pragmas], { stdio: 'ignore' });
    };
    const stop = async (child: ChildProcess): Promise<void> => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    };
    let up = server();
    ended.push(() => stop(up));
    const connect = async (): Promise<Connection> => {
      for (;;) {
        const connection = await Connection.connect({ address, connectTimeout: '1s' }).catch(() => null);
        if (connection !== null) return connection;
        await sleep(100);
      }
    };
    const connection = await connect();
    ended.push(() => connection.close());
    const client = new Client({ connection });
    // The namespace comes a moment after the port.
    while (!(await client.workflow.count().then(Boolean, () => false))) await sleep(100);

    const env = { TEMPORAL_ADDRESS: address, CKPT_WORKSPACE: join(folder, 'workspace') };
    const worker = (): Running => {
      const one = ckpt(['worker'], { cwd: folder, env });
      ended.push(() => stop(one.process));
      return one;
    };
    const first = worker();
    await startBatch(client, 'faults', {
      items: { uri: join(folder, 'in') },
      pipeline: {
        stages: [
          { type: 'source.local', path: '${item.uri}' },
          { type: 'loader.weights_only' },
          { type: 'sink.publish', uri: join(folder, 'out', '${item.key}') },
        ],
      },
      max_concurrent: 32,
      continue_after: Math.ceil(ITEMS / 5),
      continue_on_error: true,
    });
    const reached = async (count: number): Promise<void> => {
      while (
        !(await queryBatch(client, 'faults').then(
          ({ completed }) => completed >= count,
          () => false,
        ))
      )
        await sleep(100);
    };
    await reached(ITEMS / 5);
    await stop(first.process);
    worker();
    await reached(ITEMS / 2);
    await stop(up);
    up = server();

    const wait = async (): ReturnType<typeof waitForBatch> => {
      for (;;) {
        const result = await waitForBatch(client, 'faults').catch(() => null);
        if (result !== null) return result;
        await sleep(200);
      }
    };
    const result = await wait();
    const failed = Array.from({ length: ITEMS }, (_, index) => index).filter(broken);
    expect(result).toMatchObject({ status: 'completed', total: ITEMS, failed: failed.length, cancelled: 0, running: 0 });
    expect(result.completed + result.unchanged).toBe(ITEMS - failed.length);
    expect(result.failures_by_code).toEqual({ CheckpointLoadError: failed.length });
    const lines = (await readFile(fileURLToPath(result.results!), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Outcome);
    expect(lines.map(({ index }) => index)).toEqual(Array.from({ length: ITEMS }, (_, index) => index));
    expect(new Set(lines.map(({ uri }) => uri)).size).toBe(ITEMS);
    for (const { item, status } of lines)
      if (status !== 'failed')
        expect((await readFile(join(folder, 'out', item))).subarray(-16)).toEqual(tiny(Number(/\d+/.exec(item)![0])).subarray(-16));
    const runs = [];
    for await (const run of client.workflow.list({ query: "WorkflowId = 'faults'" })) runs.push(run);
    expect(runs.length).toBeGreaterThanOrEqual(4);
  },
  LONG,
);
