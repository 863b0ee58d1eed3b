/** Whose blobs `ckpt gc` spares: those of runs that are open, wherever they began; and which server it asks. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { CheckpointClient } from '../../src/app/client.ts';
import { oldestOpenRun } from '../../src/app/temporal/visibility.ts';
import { TASK_QUEUE } from '../../src/pipeline/contract.ts';
import { ckpt } from '../support/cli.ts';
import { devServer, servicesOf, workerOf } from '../support/temporal.ts';

const LONG = 180_000;

let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-gc-'));
});
afterAll(async () => {
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

test(
  'a run that was reset is as old as the one it continues',
  async () => {
    const { client, connection } = environment;
    const place = { connection, namespace: 'default' };
    expect(await oldestOpenRun(place)).toBeNull();
    const runs = new CheckpointClient({ client });
    const worker = await workerOf(environment, TASK_QUEUE, servicesOf(join(folder, 'workspace')));
    await worker.runUntil(async () => {
      const { workflowId, runId } = await runs.start({
        stages: [
          { type: 'source.local', path: join(folder, 'no.ckpt') },
          { type: 'loader.weights_only' },
          { type: 'sink.publish', uri: join(folder, 'out.safetensors') },
        ],
        on_error: 'wait',
      });
      while ((await runs.status(workflowId)).status !== 'waiting') await sleep(50);
      const began = (await client.workflow.getHandle(workflowId, runId).describe()).startTime.getTime();
      await sleep(20);
      const reset = await connection.workflowService.resetWorkflowExecution({
        namespace: 'default',
        workflowExecution: { workflowId, runId },
        // The end of the first workflow task: scheduled, started, completed follow the start.
        workflowTaskFinishEventId: 4 as unknown as Long,
        requestId: randomUUID(),
        reason: 'by the test',
      });
      expect(reset.runId).not.toBe(runId);
      expect((await client.workflow.getHandle(workflowId, reset.runId!).describe()).startTime.getTime()).toBeGreaterThan(began);
      while ((await oldestOpenRun(place)) === null) await sleep(50);
      expect(await oldestOpenRun(place)).toBe(began);
      await client.workflow.getHandle(workflowId).terminate('by the test');
    });
  },
  LONG,
);

test(
  'a workspace that was named is cleared for a server that was named alone',
  async () => {
    const named = { XDG_STATE_HOME: join(folder, 'state'), CKPT_WORKSPACE: join(folder, 'shared') };
    const unknown = await ckpt(['gc'], { cwd: folder, env: named }).ended;
    expect({ code: unknown.code, stderr: unknown.stderr }).toEqual({ code: 2, stderr: expect.stringContaining('Set TEMPORAL_ADDRESS') });
    const { address } = environment.connection.options as { readonly address: string };
    const known = await ckpt(['gc', '--json'], { cwd: folder, env: { ...named, TEMPORAL_ADDRESS: address } }).ended;
    expect({ code: known.code, stderr: known.stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(known.stdout)).toMatchObject({ removed: 0, server: { address, namespace: 'default' } });
  },
  LONG,
);
