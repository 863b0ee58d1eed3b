/** Batches from the command line with everything in an S3 store: items, outputs, results, workspace; and Ctrl-C. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { registerAttributes } from '../../src/app/temporal/search-attributes.ts';
import type { BatchResult, Outcome } from '../../src/pipeline/batch.ts';
import { ckpt } from '../support/cli.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';
import { devServer } from '../support/temporal.ts';
import { tinySafetensors } from '../support/tiny-safetensors.ts';

const LONG = 240_000;
const ITEMS = 12;
const BROKEN = 5;

let environment: TestWorkflowEnvironment;
let server: S3TestServer;
let bucket: string;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-batch-stores-'));
  server = await startS3Server();
  bucket = await server.bucket();
  environment = await devServer();
  await registerAttributes(environment.connection, 'default');
}, S3_SETUP_TIMEOUT);
afterAll(async () => {
  await environment?.teardown();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

const place = () => ({
  cwd: folder,
  env: { ...server.env, TEMPORAL_ADDRESS: environment.address, CKPT_WORKSPACE: `s3://${bucket}/workspace` },
});
const put = (Key: string, Body: Buffer): Promise<unknown> => server.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
const get = async (Key: string): Promise<Buffer> =>
  Buffer.from(await (await server.client.send(new GetObjectCommand({ Bucket: bucket, Key }))).Body!.transformToByteArray());

async function command(...args: readonly string[]): Promise<{ code: number | null; result: BatchResult }> {
  const { code, stdout, stderr } = await ckpt(['batch', ...args, '--json', '--worker'], place()).ended;
  expect(stderr).toBe('');
  return { code, result: JSON.parse(stdout) as BatchResult };
}

test(
  'items, outputs, results and workspace in a store: run, run again, retry',
  async () => {
    const source = (index: number, whole: boolean): Promise<unknown> =>
      put(`runs/${index}/last.safetensors`, whole ? tinySafetensors(index) : tinySafetensors(index).subarray(0, 30));
    for (let index = 0; index < ITEMS; index++) await source(index, index !== BROKEN);
    await put('runs/notes.txt', Buffer.from('none of them'));
    const results = `s3://${bucket}/results/nightly.jsonl`;
    await writeFile(
      join(folder, 'batch.yaml'),
      JSON.stringify({
        name: 'nightly',
        items: { uri: `s3://${bucket}/runs`, glob: '*/last.safetensors' },
        continue_on_error: true,
        max_concurrent: 4,
        continue_after: 4,
        results,
        pipeline: {
          stages: [
            { type: 'source.s3', url: '${item.uri}' },
            { type: 'loader.weights_only' },
            { type: 'sink.publish', uri: `s3://${bucket}/serving/\${item.dir}.safetensors` },
          ],
        },
      }),
    );
    const lines = async (): Promise<readonly Outcome[]> =>
      (await get('results/nightly.jsonl'))
        .toString()
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Outcome);

    const first = await command('run', 'batch.yaml', '--id', 'nightly-1');
    expect(first).toMatchObject({ code: 1, result: { total: ITEMS, completed: ITEMS - 1, unchanged: 0, failed: 1, results } });
    expect((await lines()).map(({ index }) => index)).toEqual(Array.from({ length: ITEMS }, (_, index) => index));
    for (const { uri, status, outputs } of await lines())
      if (status === 'completed') {
        const number = Number(/runs\/(\d+)\//.exec(uri)![1]);
        expect(outputs).toEqual([`s3://${bucket}/serving/${number}.safetensors`]);
        expect((await get(`serving/${number}.safetensors`)).subarray(-16)).toEqual(tinySafetensors(number).subarray(-16));
      }

    const found = [];
    for await (const { workflowId } of environment.client.workflow.list({ query: "CheckpointBatch = 'nightly-1'" })) found.push(workflowId);
    // The children, and the batch in each of its runs.
    expect(new Set(found).size).toBe(ITEMS + 1);

    await source(3, true);
    const second = await command('run', 'batch.yaml', '--id', 'nightly-2');
    // The same bytes have the same entity tag in a bucket without versions.
    expect(second).toMatchObject({ code: 1, result: { completed: 0, unchanged: ITEMS - 1, failed: 1 } });
    expect((await lines()).filter(({ workflow_id }) => workflow_id !== null).map(({ item }) => item)).toEqual([
      `${BROKEN}/last.safetensors`,
    ]);

    await source(BROKEN, true);
    const retried = await command('retry', 'nightly-2');
    expect(retried).toMatchObject({ code: 0, result: { total: 1, completed: 1, failed: 0 } });
    // Of a batch that has ended, no worker is asked.
    const { code, stdout } = await ckpt(['batch', 'status', 'nightly-1', '--json'], place()).ended;
    expect([code, JSON.parse(stdout)]).toEqual([0, { ...(first.result as object), retrying: null, waiting: null }]);
  },
  LONG,
);

test(
  'Ctrl-C cancels the batch and its children; what it had come to is told without a worker',
  async () => {
    await mkdir(join(folder, 'in'));
    for (let index = 0; index < 400; index++) await writeFile(join(folder, 'in', `${index}.safetensors`), tinySafetensors(index));
    const stages = "[{type: source.local, path: '${item.uri}'}, {type: loader.weights_only}, {type: sink.publish, uri: 'out/${item.key}'}]";
    await writeFile(join(folder, 'long.yaml'), `items: {uri: in}\npipeline: {stages: ${stages}}\nmax_concurrent: 8\n`);
    const running = ckpt(['batch', 'run', 'long.yaml', '--worker', '--id', 'long'], place());
    while (!(await readdir(join(folder, 'out')).catch((): string[] => [])).some((name) => name.endsWith('.safetensors'))) await sleep(50);
    running.process.kill('SIGINT');
    const { code, stdout, stderr } = await running.ended;
    expect(stderr).toContain('Cancelling the batch');
    expect([code, stdout]).toEqual([1, expect.stringContaining('Batch long: cancelled')]);
    const status = await ckpt(['batch', 'status', 'long', '--json'], place()).ended;
    const result = JSON.parse(status.stdout) as BatchResult;
    expect(result).toMatchObject({ status: 'cancelled', total: 400, running: 0, results: expect.stringContaining('/batches/long/') });
    expect(result.completed + result.cancelled).toBeLessThan(400);
    for await (const { workflowId } of environment.client.workflow.list({ query: "ExecutionStatus = 'Running'" }))
      expect(workflowId).not.toMatch(/^long\//);
    const names = await readdir(join(folder, 'out'));
    expect(names.filter((name) => name.endsWith('.partial'))).toEqual([]);
  },
  LONG,
);

test('results in a bucket that is not there end a batch before its first item', async () => {
  await put('runs/0/last.safetensors', tinySafetensors(0));
  await writeFile(
    join(folder, 'nowhere.yaml'),
    JSON.stringify({
      name: 'nowhere',
      items: { uri: `s3://${bucket}/runs`, glob: '0/last.safetensors' },
      results: 's3://ckpt-no-such-bucket/nightly.jsonl',
      pipeline: {
        stages: [
          { type: 'source.s3', url: '${item.uri}' },
          { type: 'loader.weights_only' },
          { type: 'sink.publish', uri: `s3://${bucket}/nowhere/\${item.dir}.safetensors` },
        ],
      },
    }),
  );
  const { code, stderr } = await ckpt(['batch', 'run', 'nowhere.yaml', '--worker'], place()).ended;
  expect([code, stderr]).toEqual([1, expect.stringContaining('There is no bucket ckpt-no-such-bucket')]);
  await expect(get('nowhere/0.safetensors')).rejects.toThrow();
}, 240_000);
