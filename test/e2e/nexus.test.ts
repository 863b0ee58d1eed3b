/** Workflows of another namespace call ours by Nexus: the example's worker and `ckpt worker`, on one real server. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client, WorkflowFailedError } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { CheckpointClient, type BatchInput, type PipelineInput } from '../../src/index.ts';
import { ckpt, start, type Running } from '../support/cli.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';

const LONG = 180_000;
const NAMESPACE = 'training';

let environment: TestWorkflowEnvironment;
let caller: Client;
let ours: CheckpointClient;
let folder: string;
const workers: Running[] = [];

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-nexus-'));
  const { connection, address } = environment;
  await connection.workflowService.registerNamespace({
    namespace: NAMESPACE,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  caller = new Client({ connection, namespace: NAMESPACE });
  ours = new CheckpointClient({ connection, namespace: 'default' });
  // A new namespace is known to all of the server a little later.
  while (
    !(await caller.workflow.count().then(
      () => true,
      () => false,
    ))
  )
    await sleep(100);
  const env = { TEMPORAL_ADDRESS: address, CKPT_WORKSPACE: join(folder, 'workspace') };
  const setup = ckpt(['setup', '--nexus-endpoint', 'checkpoints', '--json'], { cwd: folder, env });
  expect(JSON.parse((await setup.ended).stdout)).toMatchObject({
    nexus_endpoint: { name: 'checkpoints', namespace: 'default', task_queue: 'checkpoints' },
  });
  workers.push(ckpt(['worker'], { cwd: folder, env }));
  const example = [process.execPath, join(PROJECT_ROOT, 'examples', 'nexus', 'worker.js')];
  workers.push(start(example, { cwd: folder, env: { ...env, TEMPORAL_NAMESPACE: NAMESPACE } }));
}, LONG);
afterAll(async () => {
  for (const { process } of workers) process.kill('SIGTERM');
  await Promise.all(workers.map(({ ended }) => ended));
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

const pipeline = (source: string): PipelineInput => ({
  name: 'called',
  stages: [
    { type: 'source.local', path: source },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: join(folder, 'out.safetensors') },
  ],
});

const call = (type: string, workflowId: string, input: PipelineInput | BatchInput) =>
  caller.workflow.start(type, { taskQueue: 'training', workflowId, args: [input] });

/** Runs of our namespace that a workflow of theirs has started. */
async function started(type: string): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { workflowId } of environment.client.workflow.list({ query: `WorkflowType = '${type}'` })) ids.push(workflowId);
  return ids;
}

test(
  'runPipeline: the result of the run',
  async () => {
    const handle = await call('publishTraining', 'good', pipeline(fixture('good/state_dict.pt')));
    expect(await handle.result()).toEqual({ status: 'completed', uris: [`file://${join(folder, 'out.safetensors')}`] });
    const [id] = await started('checkpointPipeline');
    expect(id).toMatch(/^called-/);
    expect(await ours.status(id!)).toMatchObject({ status: 'completed' });
  },
  LONG,
);

test(
  'a failed run: its type and details reach the caller',
  async () => {
    const cut = await call('publishTraining', 'cut', pipeline(fixture('corrupt/truncated_lightning_trained_half.ckpt')));
    expect(await cut.result()).toMatchObject({ status: 'failed', type: 'CheckpointLoadError', stage: 'source.local' });
    // Wrong inputs fail as they do for every other client.
    const wrong = await call('publishTraining', 'wrong', { ...pipeline('x'), on_error: 'ask' } as unknown as PipelineInput);
    expect(await wrong.result()).toMatchObject({
      status: 'failed',
      type: 'CheckpointConfigError',
      message: expect.stringContaining('`on_error`'),
    });
  },
  LONG,
);

test(
  'cancelling the caller cancels the run',
  async () => {
    const before = await started('checkpointPipeline');
    const handle = await call('publishTraining', 'cancelled', { ...pipeline(join(folder, 'never.pt')), name: 'waits', on_error: 'wait' });
    let run: string | undefined;
    while (run === undefined || (await ours.status(run)).status !== 'waiting') {
      run = (await started('checkpointPipeline')).find((id) => !before.includes(id));
      await sleep(100);
    }
    await handle.cancel();
    const error = await handle.result().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(WorkflowFailedError);
    expect((error as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(await ours.settled(run)).toMatchObject({ status: 'cancelled' });
  },
  LONG,
);

test(
  'runBatch: the totals of the batch',
  async () => {
    await mkdir(join(folder, 'in'));
    await cp(fixture('good/state_dict.pt'), join(folder, 'in', 'good.pt'));
    await writeFile(join(folder, 'in', 'bad.pt'), 'no checkpoint');
    const template = pipeline('${item.uri}');
    const stages = [...template.stages.slice(0, 2), { type: 'sink.publish', uri: join(folder, 'out', '${item.stem}.safetensors') }];
    const batch: BatchInput = { name: 'all', items: { uri: join(folder, 'in') }, pipeline: { stages }, continue_on_error: true };
    const handle = await call('publishAll', 'batch', batch);
    expect(await handle.result()).toEqual({ total: 2, completed: 1, failed: 1, codes: ['CheckpointLoadError'] });
    const [id, ...more] = await started('checkpointBatch');
    expect([id, more]).toEqual([expect.stringMatching(/^all-/), []]);
    const { typedSearchAttributes } = await environment.client.workflow.getHandle(id!).describe();
    expect(typedSearchAttributes.getAll()).toContainEqual(
      expect.objectContaining({ key: expect.objectContaining({ name: 'CheckpointBatch' }), value: id }),
    );
  },
  LONG,
);

test(
  'the endpoint is made once; one that leads elsewhere is refused',
  async () => {
    const setup = (namespace: string) =>
      ckpt(['setup', '--nexus-endpoint', 'checkpoints', '--json'], {
        cwd: folder,
        env: { TEMPORAL_ADDRESS: environment.address, TEMPORAL_NAMESPACE: namespace },
      }).ended;
    expect((await setup('default')).code).toBe(0);
    const { code, stdout } = await setup(NAMESPACE);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      error: {
        type: 'CheckpointConfigError',
        message: 'The Nexus endpoint checkpoints leads to default, task queue checkpoints. Take another name, or change that one.',
      },
    });
  },
  LONG,
);
