/** Batches on a real server: every item has exactly one outcome, whatever became of its child. */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { CheckpointClient } from '../../src/app/client.ts';
import { oldestOpenRun } from '../../src/app/temporal/visibility.ts';
import { PAUSE_SIGNAL, RESUME_SIGNAL, type BatchInput, type BatchResult } from '../../src/pipeline/batch.ts';
import type { StageInput } from '../../src/pipeline/contract.ts';
import { batchSuite, outcomesOf } from '../support/batches.ts';
import { WORKFLOW_BUNDLE } from '../support/temporal.ts';
import { tinySafetensors } from '../support/tiny-safetensors.ts';

const LONG = 240_000;
const BROKEN = [7, 31];

const suite = batchSuite();
const { items, batch, start } = suite;

test(
  'sixty items over several runs: one outcome each, outputs as the sources, failures with codes; a second batch is unchanged',
  async () => {
    await items(60, BROKEN);
    const worker = await suite.worker();
    await worker.runUntil(async () => {
      const handle = await start(batch({ max_concurrent: 8, continue_after: 15 }));
      const result = (await handle.result()) as BatchResult;
      expect(result).toMatchObject({ status: 'completed', total: 60, completed: 58, unchanged: 0, failed: 2, running: 0 });
      expect(result.failures.map(({ code }) => code)).toEqual(['CheckpointLoadError', 'CheckpointLoadError']);
      const lines = await outcomesOf(result);
      expect(lines.map(({ index }) => index)).toEqual(Array.from({ length: 60 }, (_, index) => index));
      expect(new Set(lines.map(({ item }) => item)).size).toBe(60);
      expect(
        lines
          .filter(({ status }) => status === 'failed')
          .map(({ item }) => item)
          .sort(),
      ).toEqual(BROKEN.map((index) => `model-${index}.safetensors`).sort());
      const data = async (path: string): Promise<string> =>
        createHash('sha256')
          .update((await readFile(path)).subarray(-16))
          .digest('hex');
      for (const { item, status } of lines)
        if (status === 'completed') expect(await data(join(suite.folder, 'out', item))).toBe(await data(join(suite.folder, 'in', item)));

      const runs = [];
      for await (const run of suite.environment.client.workflow.list({ query: `WorkflowId = 'batch-${suite.queue}'` })) runs.push(run);
      expect(runs.filter(({ status }) => status.name === 'CONTINUED_AS_NEW').length).toBeGreaterThanOrEqual(3);
      // Each run's history replays with today's code.
      for (const { runId } of runs) {
        const history = await suite.environment.client.workflow.getHandle(`batch-${suite.queue}`, runId).fetchHistory();
        await Worker.runReplayHistory({ workflowBundle: { codePath: WORKFLOW_BUNDLE } }, history, `batch-${suite.queue}`);
      }

      const again = (await (await start(batch())).result()) as BatchResult;
      expect(again).toMatchObject({ completed: 0, unchanged: 58, failed: 2 });

      const retried = (await (await start(batch({ items: { failed_in: again.results! } }))).result()) as BatchResult;
      expect(retried).toMatchObject({ total: 2, failed: 2 });
    });
  },
  LONG,
);

test(
  'an item whose key leads out of the folder of the template fails alone, writes nothing, and the history replays',
  async () => {
    await items(2);
    const uri = join(suite.folder, 'in', 'model-1.safetensors');
    const worker = await suite.worker();
    await worker.runUntil(async () => {
      const stages = batch().pipeline.stages.map((stage) =>
        stage.type === 'sink.publish' ? { ...stage, uri: join(suite.folder, 'out', '${item.key}.safetensors') } : stage,
      );
      const keys = ['../climbed', 'runs/7/weights'];
      const handle = await start(batch({ items: keys.map((key) => ({ uri, key })), pipeline: { stages } }));
      const result = (await handle.result()) as BatchResult;
      expect(result).toMatchObject({ status: 'completed', total: 2, completed: 1, failed: 1 });
      expect(result.failures).toMatchObject([{ item: '../climbed', code: 'CheckpointConfigError' }]);
      expect((await readdir(suite.folder)).toSorted()).toEqual(['in', 'out', 'workspace']);
      await Worker.runReplayHistory({ workflowBundle: { codePath: WORKFLOW_BUNDLE } }, await handle.fetchHistory(), handle.workflowId);
    });
  },
  LONG,
);

test(
  'a document or a place that is wrong fails the batch and leaves results of what had ended',
  async () => {
    await items(3);
    const worker = await suite.worker();
    const failure = async (input: BatchInput): Promise<{ type: string; result: BatchResult }> => {
      const error = await (await start(input)).result().catch((thrown: unknown) => thrown);
      const { type, details } = (error as WorkflowFailedError).cause as unknown as { type: string; details: [unknown, BatchResult] };
      return { type, result: details[1] };
    };
    await worker.runUntil(async () => {
      expect(await failure(batch({ max_concurrent: 0 }))).toMatchObject({ type: 'CheckpointConfigError', result: { status: 'failed' } });
      expect((await failure(batch({ items: { uri: join(suite.folder, 'nowhere') } }))).type).toBe('CheckpointNotFoundError');
      // A folder: said before the first item.
      expect(await failure(batch({ results: join(suite.folder, 'in') }))).toMatchObject({
        type: 'CheckpointConfigError',
        result: { completed: 0, results: null, running: 0 },
      });
      // Or after the last: then the results lie in the workspace.
      const stages = batch().pipeline.stages.map((stage) =>
        stage.type === 'sink.publish' ? { ...stage, uri: join(suite.folder, 'late', '${item.stem}.safetensors', 'x') } : stage,
      );
      const late = await failure(batch({ pipeline: { stages }, results: join(suite.folder, 'late', 'model-1.safetensors') }));
      expect(late).toMatchObject({ type: 'CheckpointConfigError', result: { completed: 3, running: 0 } });
      expect(await outcomesOf(late.result)).toHaveLength(3);
    });
  },
  LONG,
);

test(
  'too many failures stop the batch; it fails with the list, and another try of it comes to the last item',
  async () => {
    await items(20, [1, 3, 5, 7]);
    const worker = await suite.worker();
    await worker.runUntil(async () => {
      const handle = await start(batch({ max_failures: '10%', max_concurrent: 1 }));
      const error = await handle.result().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(WorkflowFailedError);
      const { details } = (error as WorkflowFailedError).cause as unknown as { details: readonly [unknown, BatchResult] };
      expect(details[1]).toMatchObject({ status: 'failed', total: 20, failed: 3, failures: [{}, {}, {}] });
      const outcomes = await outcomesOf(details[1]);
      expect(outcomes.map(({ index }) => index)).toEqual(Array.from({ length: 20 }, (_, index) => index));
      const begun = details[1].completed + 3;
      expect(outcomes.findIndex(({ status }) => status === 'not_started')).toBe(begun);
      expect(outcomes.slice(begun).every(({ status }) => status === 'not_started')).toBe(true);
      expect(outcomes[begun]).toMatchObject({ uri: expect.stringContaining('model-'), workflow_id: null, outputs: [], error: null });

      // Two of those that failed are mended; of the few items that are left, a tenth would be less than one.
      for (const index of [3, 5]) await writeFile(join(suite.folder, 'in', `model-${index}.safetensors`), tinySafetensors(index));
      const { batch: batches } = new CheckpointClient({ client: suite.environment.client }, { taskQueue: suite.queue });
      const again = await batches.result(await batches.retry(handle.workflowId));
      const left = 20 - details[1].completed;
      expect(again).toMatchObject({ status: 'completed', total: left, completed: left - 2, failed: 2 });
    });
  },
  LONG,
);

test(
  'a slow child is handed over; children that are cancelled or terminated leave no gap',
  async () => {
    await items(24);
    const held = new Set(['model-1.safetensors', 'model-11.safetensors']);
    const { services, open } = suite.held((uri) => held.has(uri.split('/').at(-1)!));
    const worker = await suite.worker(services);
    await worker.runUntil(async () => {
      const handle = await start(batch({ max_concurrent: 8, continue_after: 6 }));
      const status = (): Promise<BatchResult> => handle.query<BatchResult>('status');
      const until = async (holds: (now: BatchResult) => boolean): Promise<void> => {
        while (!(await status().then(holds, () => false))) await sleep(50);
      };
      await until((now) => now.completed === 22 && now.running === 2);
      const pending = [];
      for await (const run of suite.environment.client.workflow.list({
        query: `WorkflowType = 'checkpointPipeline' AND ExecutionStatus = 'Running'`,
      }))
        pending.push(run.workflowId);
      expect(pending).toHaveLength(2);
      // What the first run has listed is younger than the oldest open run, so nobody clears it up.
      const first = suite.environment.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId);
      expect(await oldestOpenRun({ connection: suite.environment.connection, namespace: 'default' })).toBe(
        (await first.describe()).startTime.getTime(),
      );
      await suite.environment.client.workflow.getHandle(pending[0]!).terminate('by the test');
      await suite.environment.client.workflow.getHandle(pending[1]!).cancel();
      open();
      const result = (await handle.result()) as BatchResult;
      expect(result).toMatchObject({ completed: 22, failed: 1, cancelled: 1 });
      expect(await outcomesOf(result)).toHaveLength(24);
    });
  },
  LONG,
);

/** A worker with one slot, which the first stage of all holds until the `open` that `play` is given: what begins after it, the server decides. */
async function oneAfterAnother(play: (open: () => void, begun: readonly string[]) => Promise<void>): Promise<void> {
  const begun: string[] = [];
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const worker = await suite.worker(
    suite.services(),
    (activities) => ({
      ...activities,
      'source.local': async (input: StageInput) => {
        begun.push(input.run.workflowId);
        if (begun.length === 1) await gate;
        return activities['source.local']!(input);
      },
    }),
    { maxConcurrentActivityTaskExecutions: 1 },
  );
  await worker.runUntil(() => play(open, begun).finally(open));
}

/** Until the first activities of so many runs lie with the server. */
async function untilWaiting(prefix: string, count: number): Promise<void> {
  const { client } = suite.environment;
  const deadline = Date.now() + 30_000;
  for (;;) {
    let waiting = 0;
    for await (const run of client.workflow.list({ query: `WorkflowType = 'checkpointPipeline' AND TaskQueue = '${suite.queue}'` })) {
      if (!run.workflowId.startsWith(prefix)) continue;
      const { raw } = await client.workflow.getHandle(run.workflowId).describe();
      if ((raw.pendingActivities ?? []).some(({ attempt, state }) => attempt === 1 && state === 1)) waiting++;
    }
    if (waiting >= count) return;
    if (Date.now() > deadline) throw new Error(`${waiting} of ${count} first activities of ${prefix} wait at the server`);
    await sleep(50);
  }
}

test(
  'a batch yields: a run that somebody waits for overtakes what waits of it; its items carry the fairness key',
  async () => {
    await items(8);
    await oneAfterAnother(async (open, begun) => {
      const { client } = suite.environment;
      const first = await start(batch());
      await untilWaiting(first.workflowId, 7);
      const [source] = batch().pipeline.stages;
      const now = await client.workflow.start('checkpointPipeline', {
        taskQueue: suite.queue,
        workflowId: `now-${suite.queue}`,
        args: [{ stages: [{ ...source!, path: join(suite.folder, 'in', 'model-5.safetensors') }] }],
      });
      await untilWaiting(now.workflowId, 1);
      open();
      await Promise.all([first.result(), now.result()]);
      // The one that held the only slot goes first; by its age, the run would be the ninth.
      expect(begun.indexOf(now.workflowId)).toBeLessThanOrEqual(2);
      expect(begun).toHaveLength(9);
      const { raw } = await client.workflow.getHandle(begun[0]!).describe();
      expect(raw.workflowExecutionInfo!.priority).toMatchObject({ priorityKey: 4, fairnessKey: first.workflowId });
    });
  },
  LONG,
);

test(
  'batches share: a small one that comes late does not wait for all that lies there of a large one',
  async () => {
    await items(16);
    await oneAfterAnother(async (open, begun) => {
      const { client } = suite.environment;
      // Its list is read while there is a slot; its items come after those of the large one.
      const small = await client.workflow.signalWithStart('checkpointBatch', {
        taskQueue: suite.queue,
        workflowId: `small-${suite.queue}`,
        args: [
          batch({
            items: { uri: join(suite.folder, 'in'), glob: 'model-1?.safetensors' },
            pipeline: { stages: [batch().pipeline.stages[0]!] },
          }),
        ],
        signal: PAUSE_SIGNAL,
      });
      const activities = async (): Promise<number> =>
        (await small.fetchHistory()).events!.filter((event) => event.activityTaskCompletedEventAttributes).length;
      while ((await activities()) < 2) await sleep(50);
      const large = await start(batch({ max_concurrent: 16 }));
      await untilWaiting(large.workflowId, 15);
      await small.signal(RESUME_SIGNAL);
      await untilWaiting(small.workflowId, 3);
      open();
      await Promise.all([large.result(), small.result()]);
      expect(begun).toHaveLength(19);
      // One of each in turn; by their age, these three would be the last.
      const late = begun.flatMap((id, index) => (id.startsWith(small.workflowId) ? [index] : []));
      expect(late).toHaveLength(3);
      expect(late.at(-1)).toBeLessThan(12);
    });
  },
  LONG,
);

test(
  'a batch that was terminated and is run again under its id: what still runs is named, the rest is done',
  async () => {
    await items(6);
    const { services, open } = suite.held((uri) => uri.endsWith('model-1.safetensors'));
    const worker = await suite.worker(services);
    await worker.runUntil(async () => {
      const first = await start(batch({ max_concurrent: 1 }));
      // A child is counted as running before the server has started it, which it never does for a parent that is gone.
      const child = suite.environment.client.workflow.getHandle(`${first.workflowId}/0/model-1.safetensors`);
      while (
        !(await child.describe().then(
          ({ status }) => status.name === 'RUNNING',
          () => false,
        ))
      )
        await sleep(50);
      await first.terminate('by the test');
      const second = await start(batch());
      const until = async (holds: (now: BatchResult) => boolean): Promise<void> => {
        while (!(await second.query<BatchResult>('status').then(holds, () => false))) await sleep(50);
      };
      await until(({ failed }) => failed === 1);
      open();
      const result = (await second.result()) as BatchResult;
      expect(result).toMatchObject({ status: 'completed', total: 6, completed: 5, failed: 1 });
      expect(result.failures[0]).toMatchObject({ item: 'model-1.safetensors', message: expect.stringContaining('is going on') });
      const third = (await (await start(batch({ items: { failed_in: result.results! } }))).result()) as BatchResult;
      expect(third.completed + third.unchanged).toBe(1);
    });
  },
  LONG,
);

test(
  'pause starts no more, resume goes on, cancel ends the children, too',
  async () => {
    await items(12);
    const { services, open } = suite.held(() => true);
    const worker = await suite.worker(services);
    await worker.runUntil(async () => {
      const handle = await start(batch({ max_concurrent: 2 }));
      const until = async (holds: (now: BatchResult) => boolean): Promise<void> => {
        while (!(await handle.query<BatchResult>('status').then(holds, () => false))) await sleep(50);
      };
      await until((now) => now.running === 2);
      await handle.signal('pause');
      open();
      await until((now) => now.running === 0 && now.status === 'paused' && now.completed === 2);
      await handle.signal('resume');
      await until((now) => now.completed > 3);
      await handle.cancel();
      await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
      const last = await handle.query<BatchResult>('status');
      expect(last.status).toBe('cancelled');
      const begun = (await outcomesOf(last)).filter((outcome) => outcome.status !== 'not_started');
      expect(begun).toHaveLength(last.completed + last.unchanged + last.failed + last.cancelled);
      for await (const run of suite.environment.client.workflow.list({
        query: `WorkflowType = 'checkpointPipeline' AND ExecutionStatus = 'Running'`,
      }))
        expect(run.workflowId).not.toContain(suite.queue);
    });
  },
  LONG,
);
