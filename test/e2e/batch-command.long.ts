/** `ckpt batch` as people have it: run, looked at, tried again. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { BatchResult } from '../../src/pipeline/batch.ts';
import { batchServer, writeItems } from '../support/batches.ts';
import { ckpt } from '../support/cli.ts';

const LONG = 240_000;

let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await batchServer();
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-batch-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test(
  'the command line: run, status, retry; exit 1 with the failures',
  async () => {
    await writeItems(folder, 5, [2]);
    const place = {
      cwd: folder,
      env: { TEMPORAL_ADDRESS: environment.address, CKPT_WORKSPACE: join(folder, 'workspace') },
    };
    await writeFile(
      join(folder, 'items.csv'),
      `uri,name\n${[0, 1, 2].map((n) => `in/${n % 2 === 0 ? 'sub/' : ''}model-${n}.safetensors,"n ${n}"`).join('\n')}\n`,
    );
    const stages =
      "stages:\n    - {type: source.local, path: '${item.uri}'}\n    - type: loader.weights_only\n    - {type: sink.publish, uri: 'out/${item.name}.safetensors'}\n";
    await writeFile(
      join(folder, 'batch.yaml'),
      `items: {manifest: items.csv}\ncontinue_on_error: true\nresults: results.jsonl\npipeline:\n  ${stages}`,
    );
    const ran = await ckpt(['batch', 'run', 'batch.yaml', '--json', '--worker', '--id', 'cli'], place).ended;
    expect([ran.code, ran.stderr]).toEqual([1, '']);
    const result = JSON.parse(ran.stdout) as BatchResult;
    expect(result).toMatchObject({
      workflow_id: 'cli',
      status: 'completed',
      total: 3,
      completed: 2,
      unchanged: 0,
      failed: 1,
      results: join(folder, 'results.jsonl'),
      failures: [{ item: 'model-2.safetensors', code: 'CheckpointLoadError', message: expect.any(String) }],
    });
    expect((await readFile(join(folder, 'out', 'n 0.safetensors'))).length).toBeGreaterThan(16);
    await writeItems(folder, 3);
    const retried = await ckpt(['batch', 'retry', 'cli', '--json', '--worker'], place).ended;
    expect([retried.code, retried.stderr]).toEqual([0, '']);
    const again = JSON.parse(retried.stdout) as BatchResult;
    expect(again).toMatchObject({ total: 1, completed: 1, failed: 0 });
    const nothing = await ckpt(['batch', 'retry', again.workflow_id], place).ended;
    expect([nothing.code, nothing.stdout]).toEqual([2, '']);
    expect(nothing.stderr).toContain(`Nothing failed, was cancelled or not started in the batch ${again.workflow_id}`);
    await writeFile(join(folder, 'wrong.yaml'), `items: [a]\nmax_concurent: 3\npipeline:\n  ${stages}`);
    const wrong = await ckpt(['batch', 'run', 'wrong.yaml', '--json'], place).ended;
    expect(wrong.code).toBe(2);
    expect(JSON.parse(wrong.stdout)).toMatchObject({
      error: { type: 'CheckpointConfigError', message: expect.stringContaining('max_concurrent') },
    });
  },
  LONG,
);
