/** The pipeline on a real dev server with the real stages. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Context } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import type { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import type { Services } from '../../activities/services.ts';
import { CheckpointSourceError } from '../../src/errors.ts';
import { readSafetensors } from '../../src/formats/safetensors/read.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import type { PipelineInput, PipelineResult, StageInput } from '../../src/pipeline/contract.ts';
import { EXPECTED, fixture } from '../support/project.ts';
import { devServer, runPipeline, servicesOf, workerOf, WORKFLOW_BUNDLE } from '../support/temporal.ts';

let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await devServer();
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-e2e-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function scrub(source: string, more: Partial<PipelineInput> = {}): PipelineInput {
  return {
    stages: [
      { type: 'source.local', path: source },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: join(folder, 'out.safetensors') },
    ],
    ...more,
  };
}

const execute = (input: PipelineInput, services = servicesOf(join(folder, 'workspace'))): Promise<PipelineResult> =>
  runPipeline(environment, input, services);

async function failureOf(run: Promise<unknown>): Promise<{ failure: ApplicationFailure; result: PipelineResult }> {
  const error = await run.then(
    () => {
      throw new Error('the run should have failed');
    },
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(WorkflowFailedError);
  const failure = (error as WorkflowFailedError).cause as ApplicationFailure;
  return { failure, result: failure.details![1] as PipelineResult };
}

test('publishes the weights of a Lightning checkpoint, and the second run is unchanged', async () => {
  const path = 'good/lightning_trained.ckpt';
  const first = await execute(scrub(fixture(path)));
  expect(first.status).toBe('completed');
  expect(first.stages.map(({ type, status }) => `${type} ${status}`)).toEqual([
    'source.local completed',
    'loader.weights_only completed',
    'sink.publish completed',
  ]);
  expect(first.metadata['stage_2_sink.publish']).toBe('completed');

  const bytes = await readFile(join(folder, 'out.safetensors'));
  expect(first.outputs[0]).toMatchObject({
    size: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    tensors: 5,
    unchanged: false,
  });
  expect(await digests(join(folder, 'out.safetensors'))).toEqual(EXPECTED.good[path]!.tensors);
  expect((await readdir(folder)).sort()).toEqual(['out.safetensors', 'out.safetensors.manifest.json', 'workspace']);

  const second = await execute(scrub(fixture(path)));
  expect(second.status).toBe('unchanged');
  expect(second.outputs[0]).toMatchObject({ sha256: first.outputs[0]!.sha256, unchanged: true });
});

test('a stage that fails for a while is tried again', async () => {
  const services = servicesOf(join(folder, 'workspace'));
  let calls = 0;
  const flaky: Services = {
    ...services,
    open: async (uri) => {
      if (++calls < 3) throw new CheckpointSourceError('the disk is away for a moment', uri);
      return services.open(uri);
    },
  };
  const result = await execute(scrub(fixture('good/state_dict.pt')), flaky);
  expect(result.status).toBe('completed');
  expect(result.stages[0]).toMatchObject({ status: 'completed', attempts: 3 });
});

test('an unsafe file fails at once, names what is dangerous, and leaves nothing behind', async () => {
  const { failure, result } = await failureOf(execute(scrub(fixture('unsafe/call_os_system.pt'))));
  expect(failure.type).toBe('CheckpointValidationError');
  expect(failure.message).toContain('os.system');
  expect(failure.details![0]).toMatchObject({ pipeline_stage_index: 0, pipeline_total_stages: 3, attempts: 1 });
  expect(result).toMatchObject({ status: 'failed', outputs: [] });
  expect(result.stages.map(({ status }) => status)).toEqual(['failed', 'pending', 'pending']);
  expect((await readdir(folder)).filter((name) => name !== 'workspace')).toEqual([]);
});

test('nothing loaded is a failure, also with continue_on_error', async () => {
  const { failure } = await failureOf(execute(scrub(fixture('corrupt/empty.ckpt'), { continue_on_error: true })));
  expect(failure.type).toBe('CheckpointLoadError');
  expect(failure.details![0]).toMatchObject({ reason: 'weights_never_loaded' });
});

test('an unknown option fails with its path', async () => {
  const { failure } = await failureOf(execute({ stages: [{ type: 'source.local', pth: '/x' }] }));
  expect(failure.type).toBe('CheckpointConfigError');
  expect(failure.details![0]).toMatchObject({ config_path: 'stages[0].pth' });
});

test('cancelled in the middle of publish: the run says so, and nothing is left behind', async () => {
  const services = servicesOf(join(folder, 'workspace'));
  const stalled: Services = {
    ...services,
    openPinned: async (file) => {
      const source = await services.openPinned(file);
      return {
        ...source,
        // The middle of publish lasts until the run is cancelled.
        readInto: (_offset, _target, signal) =>
          new Promise((_resolve, reject) => signal!.addEventListener('abort', () => reject(signal!.reason as Error))),
      };
    },
  };
  const taskQueue = `test-${randomUUID()}`;
  const worker = await workerOf(environment, taskQueue, stalled);
  await worker.runUntil(async () => {
    const handle = await environment.client.workflow.start('checkpointPipeline', {
      taskQueue,
      workflowId: `cancel-${randomUUID()}`,
      args: [scrub(fixture('good/lightning_trained.ckpt'))],
    });
    const partial = async (): Promise<boolean> => (await readdir(folder)).some((name) => name.endsWith('.partial'));
    while (!(await partial())) await new Promise((resolve) => setTimeout(resolve, 50));
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
    const status = await handle.query<PipelineResult>('status');
    expect(status.status).toBe('cancelled');
    expect(status.stages.map((stage) => stage.status)).toEqual(['completed', 'completed', 'cancelled']);
  });
  expect(await readdir(folder)).toEqual(['workspace']);
});

test('a manifest that cannot be written: the next attempt moves nothing, and after the last one nothing is left', async () => {
  const services = servicesOf(join(folder, 'workspace'));
  let opened = 0;
  const counting: Services = { ...services, openPinned: (file) => (opened++, services.openPinned(file)) };
  const blocked = join(folder, 'out.safetensors.manifest.json', 'in-the-way');
  const run = async (unblock: boolean): Promise<PipelineResult> => {
    const taskQueue = `test-${randomUUID()}`;
    const worker = await workerOf(environment, taskQueue, counting, (activities) => ({
      ...activities,
      // Behind the preflight, which would refuse it.
      'sink.publish': async (input: StageInput) => {
        if (Context.current().info.attempt === 1) await mkdir(blocked, { recursive: true });
        return activities['sink.publish']!(input).catch(async (error: unknown) => {
          if (unblock) await rm(dirname(blocked), { recursive: true });
          throw error;
        });
      },
    }));
    const document = scrub(fixture('good/state_dict.pt'), { retry: { maximum_attempts: 2, initial_interval: 0.1 } });
    const stages = document.stages.map((stage) => (stage.type === 'sink.publish' ? { ...stage, overwrite: 'never' } : stage));
    return worker.runUntil(
      environment.client.workflow.execute('checkpointPipeline', {
        taskQueue,
        workflowId: `blocked-${randomUUID()}`,
        args: [{ ...document, stages }],
      }) as Promise<PipelineResult>,
    );
  };
  expect((await failureOf(run(false))).result.stages.at(-1)).toMatchObject({ status: 'failed', attempts: 2 });
  expect((await readdir(folder)).toSorted()).toEqual(['out.safetensors.manifest.json', 'workspace']);
  expect(opened).toBe(1);
  await rm(dirname(blocked), { recursive: true });
  const result = await run(true);
  expect(result.stages.at(-1)).toMatchObject({ status: 'completed', attempts: 2 });
  expect(result.outputs).toMatchObject([{ unchanged: false }]);
  expect((await readdir(folder)).toSorted()).toEqual(['out.safetensors', 'out.safetensors.manifest.json', 'workspace']);
  expect(opened).toBe(2);
});

test('cancelled when all is published: too late, the run has completed', async () => {
  const taskQueue = `test-${randomUUID()}`;
  const workflowId = `late-${randomUUID()}`;
  const handle = environment.client.workflow.getHandle(workflowId);
  const worker = await workerOf(environment, taskQueue, servicesOf(join(folder, 'workspace')), (activities) => ({
    ...activities,
    'sink.publish': async (input: StageInput) => {
      const done = await activities['sink.publish']!(input);
      const activity = Context.current();
      await handle.cancel();
      // The activity hears of it by a heartbeat.
      while (!activity.cancellationSignal.aborted) {
        activity.heartbeat();
        await sleep(50);
      }
      return done;
    },
  }));
  const run = environment.client.workflow.execute('checkpointPipeline', {
    taskQueue,
    workflowId,
    args: [scrub(fixture('good/state_dict.pt'))],
  });
  expect(await worker.runUntil(run)).toMatchObject({ status: 'completed', outputs: [{ unchanged: false }] });
  expect((await readdir(folder)).sort()).toEqual(['out.safetensors', 'out.safetensors.manifest.json', 'workspace']);
});

test('a recorded history replays', async () => {
  const taskQueue = `test-${randomUUID()}`;
  const worker = await workerOf(environment, taskQueue, servicesOf(join(folder, 'workspace')));
  const workflowId = `replay-${randomUUID()}`;
  await worker.runUntil(
    environment.client.workflow.execute('checkpointPipeline', { taskQueue, workflowId, args: [scrub(fixture('good/state_dict.pt'))] }),
  );
  const history = await environment.client.workflow.getHandle(workflowId).fetchHistory();
  await Worker.runReplayHistory({ workflowBundle: { codePath: WORKFLOW_BUNDLE } }, history, workflowId);
});

/** Dtype, shape and SHA-256 of every tensor of a safetensors file, read back from its bytes. */
async function digests(path: string): Promise<Record<string, unknown>> {
  const source = await openLocalFile(path);
  const header = await readSafetensors(source);
  const found: Record<string, unknown> = {};
  for (const { name, tensor } of header.weights) {
    const { dtype, shape, storage } = header.tensors[tensor]!;
    const { location, length } = header.storages[storage]!;
    const bytes = location.kind === 'range' ? await source.read(location.offset, length) : new Uint8Array();
    found[name] = { dtype, shape, sha256: createHash('sha256').update(bytes).digest('hex') };
  }
  await source.close();
  return found;
}
