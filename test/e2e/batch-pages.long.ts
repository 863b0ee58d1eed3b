/** Batches whose items take many kilobytes each: pages hold few of them, and runs end where pages do. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { BatchInput, BatchResult } from '../../src/pipeline/batch.ts';
import { batchIn, batchServer, outcomesOf, writeItems } from '../support/batches.ts';
import { servicesOf, workerOf } from '../support/temporal.ts';

const LONG = 240_000;

let environment: TestWorkflowEnvironment;
let folder: string;
let queue: string;

beforeAll(async () => {
  environment = await batchServer();
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-batch-'));
  queue = randomUUID();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const batch = (more?: Partial<BatchInput>) => batchIn(folder, more);

// One after the other: each begins when the one before has ended.
const start = (input: BatchInput) =>
  environment.client.workflow.start('checkpointBatch', { taskQueue: queue, workflowId: `batch-${queue}`, args: [input] });

test(
  'runs that end where a page ends; keys of any script and length; rows of many kilobytes',
  async () => {
    await writeItems(folder, 40);
    const key = (index: number): string => `${index}/${'模型😀'.repeat(300)}/ü ${index}`;
    const rows = Array.from({ length: 40 }, (_, index) => ({
      uri: join(folder, 'in', index % 2 === 0 ? 'sub' : '', `model-${index}.safetensors`),
      key: key(index),
      note: 'x'.repeat(10_000),
      n: `${index}`,
    }));
    const worker = await workerOf(environment, queue, servicesOf(join(folder, 'workspace')));
    await worker.runUntil(async () => {
      const stages = batch().pipeline.stages.map((stage) =>
        stage.type === 'sink.publish' ? { ...stage, uri: join(folder, 'out', '${item.n}.safetensors') } : stage,
      );
      // Such rows come to some twenty in a page.
      for (const after of [19, 20, 21, 22]) {
        const handle = await start(batch({ items: rows, pipeline: { stages }, max_concurrent: 8, continue_after: after }));
        const result = (await handle.result()) as BatchResult;
        expect(result).toMatchObject({ status: 'completed', total: 40, failed: 0 });
        expect(result.completed + result.unchanged).toBe(40);
        expect((await outcomesOf(result)).map(({ item }) => item)).toEqual(rows.map((row) => row.key));
      }
    });
  },
  LONG,
);
