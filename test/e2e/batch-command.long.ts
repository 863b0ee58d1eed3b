/** `ckpt batch` as people have it: run, looked at, tried again. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { BatchResult } from '../../src/pipeline/batch.ts';
import { batchSuite } from '../support/batches.ts';
import { ckpt } from '../support/cli.ts';

const LONG = 240_000;

const suite = batchSuite();
const { items } = suite;

test(
  'the command line: run, status, retry; exit 1 with the failures',
  async () => {
    await items(5, [2]);
    const place = {
      cwd: suite.folder,
      env: { TEMPORAL_ADDRESS: suite.environment.address, CKPT_WORKSPACE: join(suite.folder, 'workspace') },
    };
    await writeFile(
      join(suite.folder, 'items.csv'),
      `uri,name\n${[0, 1, 2].map((n) => `in/${n % 2 === 0 ? 'sub/' : ''}model-${n}.safetensors,"n ${n}"`).join('\n')}\n`,
    );
    const stages =
      "stages:\n    - {type: source.local, path: '${item.uri}'}\n    - type: loader.weights_only\n    - {type: sink.publish, uri: 'out/${item.name}.safetensors'}\n";
    await writeFile(
      join(suite.folder, 'batch.yaml'),
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
      results: join(suite.folder, 'results.jsonl'),
      failures: [{ item: 'model-2.safetensors', code: 'CheckpointLoadError', message: expect.any(String) }],
    });
    expect((await readFile(join(suite.folder, 'out', 'n 0.safetensors'))).length).toBeGreaterThan(16);
    await items(3);
    const retried = await ckpt(['batch', 'retry', 'cli', '--json', '--worker'], place).ended;
    expect([retried.code, retried.stderr]).toEqual([0, '']);
    const again = JSON.parse(retried.stdout) as BatchResult;
    expect(again).toMatchObject({ total: 1, completed: 1, failed: 0 });
    const nothing = await ckpt(['batch', 'retry', again.workflow_id], place).ended;
    expect([nothing.code, nothing.stdout]).toEqual([2, '']);
    expect(nothing.stderr).toContain(`Nothing failed, was cancelled or not started in the batch ${again.workflow_id}`);
    await writeFile(join(suite.folder, 'empty.yaml'), `items: {uri: in, glob: '*.none'}\npipeline:\n  ${stages}`);
    const empty = await ckpt(['batch', 'run', 'empty.yaml', '--json', '--worker'], place).ended;
    expect([empty.code, empty.stderr]).toEqual([0, 'Nothing was found to run: look at `items` and its `glob`.\n']);
    expect(JSON.parse(empty.stdout)).toMatchObject({ status: 'completed', total: 0 });
    await writeFile(join(suite.folder, 'wrong.yaml'), `items: [a]\nmax_concurent: 3\npipeline:\n  ${stages}`);
    const wrong = await ckpt(['batch', 'run', 'wrong.yaml', '--json'], place).ended;
    expect(wrong.code).toBe(2);
    expect(JSON.parse(wrong.stdout)).toMatchObject({
      error: { type: 'CheckpointConfigError', message: expect.stringContaining('max_concurrent') },
    });
  },
  LONG,
);
