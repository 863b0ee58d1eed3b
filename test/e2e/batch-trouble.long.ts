/** Batches in trouble: places that are full or gone, cancellations at odd moments, inputs that are none or too large, and what is seen of it. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import type { BatchActivities, Child, FinishInput, ListInput } from '../../activities/batch/index.ts';
import { CheckpointClient } from '../../src/app/client.ts';
import { CheckpointSourceError } from '../../src/errors.ts';
import { AWAIT_ACTIVITY, FINISH_ACTIVITY, LIST_ACTIVITY, type BatchProgress, type BatchResult } from '../../src/pipeline/batch.ts';
import { batchSuite, outcomesOf } from '../support/batches.ts';
import { ckpt } from '../support/cli.ts';
import { WORKFLOW_BUNDLE } from '../support/temporal.ts';

const LONG = 240_000;

const suite = batchSuite();
const { items, batch, start } = suite;

test(
  'a batch that is cancelled ends though its results cannot be had where they were wanted: they lie in the workspace',
  async () => {
    await items(4);
    const { services, open } = suite.held((uri) => uri.endsWith('model-3.safetensors'));
    const results = join(suite.folder, 'results.jsonl');
    const worker = await suite.worker(services, (activities) => ({
      ...activities,
      [FINISH_ACTIVITY]: async (input: FinishInput) => {
        if (input.results !== null) throw new CheckpointSourceError('the store is away', input.results);
        return (activities as unknown as BatchActivities)[FINISH_ACTIVITY](input);
      },
    }));
    await worker.runUntil(async () => {
      const handle = await start(batch({ results }));
      while (!(await handle.query<BatchResult>('status').then(({ completed }) => completed === 3))) await sleep(50);
      await handle.cancel();
      open();
      await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
      const last = await handle.query<BatchResult>('status');
      expect(last).toMatchObject({ status: 'cancelled', completed: 3 });
      expect(last.results).not.toBe(results);
      expect(await outcomesOf(last)).toHaveLength(4);
    });
  },
  LONG,
);

test(
  'a child that ends while its batch is cancelled is counted once',
  async () => {
    await items(8);
    const held = 'model-1.safetensors';
    const { services, open } = suite.held((uri) => uri.endsWith(held));
    let asked = 0;
    const worker = await suite.worker(services, (activities) => ({
      ...activities,
      // As one that has its answer when the cancellation comes.
      [AWAIT_ACTIVITY]: async (input: { readonly children: readonly Child[] }) => {
        if (++asked > 1) return (activities as unknown as BatchActivities)[AWAIT_ACTIVITY](input);
        const ended = input.children.map(async ({ workflowId, runId }) => {
          await suite.environment.client.workflow
            .getHandle(workflowId, runId)
            .result()
            .catch(() => undefined);
          return { workflowId, ending: { status: 'cancelled', outputs: [], error: null } };
        });
        return { ended: await Promise.all(ended) };
      },
    }));
    await worker.runUntil(async () => {
      const handle = await start(batch({ max_concurrent: 4, continue_after: 4 }));
      while (!(await handle.query<BatchResult>('status').then(({ completed }) => completed === 7))) await sleep(50);
      await handle.cancel();
      open();
      await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
      const last = await handle.query<BatchResult>('status');
      expect(last).toMatchObject({ status: 'cancelled', total: 8, completed: 7, failed: 0, cancelled: 1 });
      expect((await outcomesOf(last)).map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(asked).toBeGreaterThan(1);
    });
  },
  LONG,
);

test(
  'an item whose pipeline would be too large for the server fails alone',
  async () => {
    await items(2);
    const worker = await suite.worker();
    await worker.runUntil(async () => {
      const stages = batch().pipeline.stages;
      const note = { note: '${item.big}'.repeat(150) };
      const rows = [
        // Fewer characters than bytes.
        { uri: join(suite.folder, 'in', 'sub', 'model-0.safetensors'), big: 'ü'.repeat(7000) },
        { uri: join(suite.folder, 'in', 'model-1.safetensors'), big: 'small' },
      ];
      const pipeline = { stages: [stages[0]!, stages[1]!, { type: 'modifier.metadata', values: note }, stages[2]!] };
      const handle = await start(batch({ items: rows, pipeline, max_concurrent: 1 }));
      const result = (await handle.result()) as BatchResult;
      expect(result).toMatchObject({ status: 'completed', total: 2, completed: 1, failed: 1 });
      expect(result.failures).toMatchObject([
        { code: 'CheckpointConfigError', message: expect.stringMatching(/has 2\d{6} bytes of JSON, at most 1572864/) },
      ]);
      await Worker.runReplayHistory({ workflowBundle: { codePath: WORKFLOW_BUNDLE } }, await handle.fetchHistory(), handle.workflowId);
    });
  },
  LONG,
);

test.each<readonly [what: string, args: () => readonly unknown[], message: RegExp]>([
  ['nothing', () => [], /^A batch is a mapping/],
  ['null', () => [null], /^A batch is a mapping/],
  ['what only another run hands over', () => [{ ...batch(), carried: { total: 5 } }], /^Unknown key `carried`/],
])(
  'a batch that is started with %s fails in words',
  async (_what, args, message) => {
    const worker = await suite.worker();
    await worker.runUntil(async () => {
      const options = { taskQueue: suite.queue, workflowId: `batch-${suite.queue}`, args: [...args()] };
      const handle = await suite.environment.client.workflow.start('checkpointBatch', options);
      const error = await handle.result().catch((thrown: unknown) => thrown);
      expect((error as WorkflowFailedError).cause).toMatchObject({
        type: 'CheckpointConfigError',
        message: expect.stringMatching(message),
      });
    });
  },
  LONG,
);

test(
  'what a batch retries, and who waits for an answer, is told by its status',
  async () => {
    await items(3);
    let failing = true;
    const worker = await suite.worker(suite.services(), (activities) => ({
      ...activities,
      [LIST_ACTIVITY]: async (input: ListInput) => {
        if (failing) throw new CheckpointSourceError(`the store is away ${'x'.repeat(500)}`, 's3://b/');
        return (activities as unknown as BatchActivities)[LIST_ACTIVITY](input);
      },
    }));
    await worker.runUntil(async () => {
      const client = new CheckpointClient({ client: suite.environment.client }, { taskQueue: suite.queue });
      const nowhere = { type: 'source.local', path: '${item.uri}.none' };
      const pipeline = { on_error: 'wait' as const, stages: [nowhere, ...batch().pipeline.stages.slice(1)] };
      const { workflowId } = await client.batch.start(batch({ pipeline }), { workflowId: `batch's ${suite.queue}` });
      const until = async (holds: (now: BatchProgress) => boolean): Promise<BatchProgress> => {
        for (;;) {
          const now = await client.batch.status(workflowId);
          if (holds(now)) return now;
          await sleep(50);
        }
      };
      const { retrying } = await until((now) => now.retrying !== null);
      expect(retrying).toEqual({
        activity: 'batch.list',
        attempt: expect.any(Number),
        error: expect.stringMatching(/^the store is away x{200,400}…$/),
      });
      expect(retrying!.attempt).toBeGreaterThan(1);
      const place = { cwd: suite.folder, env: { TEMPORAL_ADDRESS: suite.environment.address } };
      const told = await ckpt(['batch', 'status', workflowId], place).ended;
      expect(told.stdout).toMatch(/^ {2}retrying batch\.list \(attempt \d+\): the store is away x+…$/m);
      failing = false;

      const waits = await until((now) => now.waiting?.count === 3);
      expect(waits).toMatchObject({ status: 'running', running: 3, seconds_left: null, retrying: null });
      const [item] = waits.waiting!.ids;
      expect(new Set(waits.waiting!.ids).size).toBe(3);
      for (const id of waits.waiting!.ids) await client.resolveFailure(id, { action: 'abort' });
      expect(item).toMatch(/\/\d\/.*model-\d\.safetensors$/);
      expect(await client.batch.settled(workflowId)).toMatchObject({ status: 'completed', failed: 3 });
      expect(await client.batch.status(workflowId)).toMatchObject({ retrying: null, waiting: null });
    });
  },
  LONG,
);
