/** Failures that people can act on: retries, what follows a failure, the question of a run that waits, and what is found before it starts. */
import { randomUUID } from 'node:crypto';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Services } from '../../activities/services.ts';
import { CheckpointClient } from '../../src/app/client.ts';
import type { StartedRun } from '../../src/app/start.ts';
import { registerAttributes, registeredAttributes } from '../../src/app/temporal/search-attributes.ts';
import { CheckpointConfigError, CheckpointNotFoundError, CheckpointSourceError, type CheckpointError } from '../../src/errors.ts';
import {
  PIPELINE_WORKFLOW,
  TASK_QUEUE,
  type PipelineInput,
  type PipelineResult,
  type Resolution,
  type StageSpec,
} from '../../src/pipeline/contract.ts';
import { fixture } from '../support/project.ts';
import { devServer, servicesOf, workerOf } from '../support/temporal.ts';

let environment: TestWorkflowEnvironment;
let runs: CheckpointClient;
let folder: string;

beforeAll(async () => {
  environment = await devServer();
  runs = new CheckpointClient({ client: environment.client });
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-failures-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const GOOD = fixture('good/lightning_trained.ckpt');
const source = (more: Partial<StageSpec> = {}): StageSpec => ({ type: 'source.local', path: GOOD, ...more });
const loader: StageSpec = { type: 'loader.weights_only' };
const sink = (): StageSpec => ({ type: 'sink.publish', uri: join(folder, 'out.safetensors') });
const scrub = (first: StageSpec = source(), more: Partial<PipelineInput> = {}): PipelineInput => ({
  stages: [first, loader, sink()],
  ...more,
});

interface Disturbed {
  readonly disturb?: (services: Services) => Partial<Services>;
  readonly act?: (run: StartedRun) => Promise<unknown>;
}

/** A run from its start to its end on a worker of its own, in the words of whoever started it. */
async function run(input: PipelineInput, { disturb = () => ({}), act = async () => undefined }: Disturbed = {}): Promise<PipelineResult> {
  const services = servicesOf(join(folder, 'workspace'));
  const worker = await workerOf(environment, TASK_QUEUE, { ...services, ...disturb(services) });
  return worker.runUntil(async () => {
    const started = await runs.start(input);
    await act(started);
    return runs.settled(started);
  });
}

/** The disk is away for so many calls. */
const flaky =
  (times: number) =>
  (services: Services): Partial<Services> => {
    let calls = 0;
    return {
      open: async (uri) => {
        if (++calls <= times) throw new CheckpointSourceError(`away at call ${calls}`, uri);
        return services.open(uri);
      },
    };
  };

async function waiting({ workflowId }: StartedRun): Promise<PipelineResult> {
  for (;;) {
    const status = await runs.status(workflowId);
    if (status.status === 'waiting') return status;
    if (status.status !== 'running') throw new Error(`the run should wait; it is ${status.status}: ${status.error?.message}`);
    await sleep(50);
  }
}

async function refusal(answer: Promise<unknown>): Promise<CheckpointError> {
  return answer.then(
    () => {
      throw new Error('the answer should have been refused');
    },
    (error: unknown) => error as CheckpointError,
  );
}

const resolve = ({ workflowId }: StartedRun, resolution: unknown) => runs.resolveFailure(workflowId, resolution as Resolution);

describe('retries', () => {
  test('a stage has its own, over the pipeline; every attempt is told', async () => {
    const first = source({ retry: { maximum_attempts: 5, initial_interval: 0.01, backoff: 1 } });
    const result = await run(scrub(first, { max_retries: 1 }), { disturb: flaky(4) });
    expect(result.status).toBe('completed');
    expect(result.stages[0]).toMatchObject({ status: 'completed', attempts: 5, started: expect.any(String), ended: expect.any(String) });
    const [only] = result.stages[0]!.tries;
    expect(only).toMatchObject({ outcome: 'completed', changed: null });
    expect(only!.attempts.map(({ attempt, outcome, error }) => [attempt, outcome, error?.type, error?.message])).toEqual([
      ...[1, 2, 3, 4].map((n) => [n, 'failed', 'CheckpointSourceError', `away at call ${n}`]),
      [5, 'completed', undefined, undefined],
    ]);
    for (const { started, ended } of only!.attempts) expect(Date.parse(ended!)).toBeGreaterThanOrEqual(Date.parse(started!));
  });

  test('attempts are made up on another worker: nothing is known to the first one alone', async () => {
    const services = servicesOf(join(folder, 'workspace'));
    let failed = false;
    const open: Services['open'] = async (uri) => {
      failed = true;
      throw new CheckpointSourceError('away', uri);
    };
    const input = scrub(source({ retry: { initial_interval: 1 } }));
    const first = await workerOf(environment, TASK_QUEUE, { ...services, open });
    const started = await first.runUntil(async () => {
      const begun = await runs.start(input);
      while (!failed) await sleep(10);
      return begun;
    });
    const second = await workerOf(environment, TASK_QUEUE, services);
    const result = await second.runUntil(runs.settled(started));
    expect(result.stages[0]).toMatchObject({ status: 'completed', attempts: 2 });
    expect(result.stages[0]!.tries[0]!.attempts).toMatchObject([
      { attempt: 1, outcome: 'failed', error: { type: 'CheckpointSourceError' } },
      { attempt: 2, outcome: 'completed' },
    ]);
  });

  test('what no retry can mend is tried once, whatever is asked', async () => {
    const result = await run(scrub(source({ path: fixture('unsafe/call_os_system.pt'), retry: { maximum_attempts: 9 } })));
    expect(result.error).toMatchObject({
      type: 'CheckpointValidationError',
      details: {
        attempts: 1,
        pipeline_stage_index: 0,
        pipeline_stage_type: 'source.local',
        pipeline_total_stages: 3,
        suggestion: expect.stringContaining('ckpt scan'),
      },
    });
    expect(result.metadata).toMatchObject({ health: 'error', health_issues: ['stage 1 (source.local) failed'] });
  });

  test("a stage's time limit: CheckpointTimeoutError, after its attempts", async () => {
    const result = await run(scrub(source({ timeout: 0.3, retry: { maximum_attempts: 2, initial_interval: 0.01 } })), {
      // Longer than both attempts may take; it must end, as the worker waits for it.
      disturb: (services) => ({ open: async (uri) => sleep(2000).then(() => services.open(uri)) }),
    });
    expect(result.error).toMatchObject({
      type: 'CheckpointTimeoutError',
      details: { operation: 'stage', attempts: 2, suggestion: expect.stringContaining('timeout') },
    });
  });
});

describe('on_error: continue', () => {
  test('a failed modifier changes nothing, and its key says why', async () => {
    const bad: StageSpec = { type: 'modifier.freezing', submodules_to_freeze: ['no.such.module'], strict: true };
    const result = await run({ stages: [source(), loader, { ...bad, on_error: 'continue' }, sink()] });
    expect(result.status).toBe('completed');
    expect(result.stages.map(({ status }) => status)).toEqual(['completed', 'completed', 'failed', 'completed']);
    expect(result.metadata['stage_2_modifier.freezing']).toMatch(/^failed: /);
    expect(result.metadata).toMatchObject({ health: 'error' });
    expect(result.metadata['modifiers_applied']).toBeUndefined();
    expect(await readdir(folder)).toContain('out.safetensors');
  });

  test('a stage whose needs are unmet is not run', async () => {
    const first = source({ path: fixture('corrupt/empty.ckpt') });
    const result = await run(scrub(first, { continue_on_error: true }));
    expect(result.error).toMatchObject({ type: 'CheckpointLoadError', details: { reason: 'weights_never_loaded' } });
    expect(result.metadata).toMatchObject({
      'stage_1_loader.weights_only': 'failed: requires checkpoint_data',
      'stage_2_sink.publish': 'failed: requires model',
    });
    expect(result.stages.map(({ attempts }) => attempts)).toEqual([1, 0, 0]);
    expect(result.stages[1]!.error).toMatchObject({ type: 'CheckpointError', details: { missing_fields: ['checkpoint_data'] } });
  });
});

describe('on_error: wait', () => {
  const late = (): string => join(folder, 'late.ckpt');
  const input = (): PipelineInput => scrub(source({ path: late() }), { on_error: 'wait' });

  test('stands still, says so, refuses wrong answers, and goes on after a right one with another option', async () => {
    const result = await run(input(), {
      act: async (started) => {
        const status = await waiting(started);
        expect(status.waiting).toMatchObject({
          stage: { index: 0, type: 'source.local' },
          error: { type: 'CheckpointNotFoundError', details: { attempts: 1, path: late() } },
          since: expect.any(String),
          options: ['retry', 'skip', 'abort'],
          refused: null,
        });
        expect(status.stages.map((stage) => stage.status)).toEqual(['waiting', 'pending', 'pending']);
        const handle = environment.client.workflow.getHandle(started.workflowId);
        const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
        expect(currentDetails).toContain('**Waits for an answer**');

        const before = (await handle.fetchHistory()).events!.length;
        for (const [wrong, path] of [
          [{ action: 'retyr' }, 'action'],
          [{}, 'action'],
          ['retry', undefined],
          [{ action: 'retry', options: ['path'] }, 'options'],
          [{ action: 'retry', options: 'path' }, 'options'],
          [{ action: 'retry', options: { type: 'source.s3' } }, 'options.type'],
          [{ action: 'skip', options: { path: '/x' } }, 'options'],
        ] as const) {
          const error = await refusal(resolve(started, wrong));
          expect(error).toBeInstanceOf(CheckpointConfigError);
          expect(error.details['config_path']).toBe(path);
        }
        expect((await handle.fetchHistory()).events!.length).toBe(before);

        // Options of the stage are judged by the stage, and controls by the document's rules.
        for (const [options, path] of [
          [{ pth: '/x' }, 'stages[0].pth'],
          [{ timeout: -1 }, 'stages[0].timeout'],
        ] as const) {
          const error = await refusal(resolve(started, { action: 'retry', options }));
          expect([error.code, error.details['config_path']]).toEqual(['CheckpointConfigError', path]);
          const { status: now, waiting: still } = await runs.status(started);
          expect([now, still!.refused!.details['config_path'], still!.error.type]).toEqual(['waiting', path, 'CheckpointNotFoundError']);
        }

        expect(await resolve(started, { action: 'retry', options: { path: GOOD, max_retries: 2 } })).toEqual({
          stage: { index: 0, type: 'source.local' },
          action: 'retry',
        });
      },
    });
    expect(result).toMatchObject({ status: 'completed', waiting: null, error: null });
    expect(result.stages[0]).toMatchObject({
      status: 'completed',
      attempts: 2,
      error: null,
      tries: [
        { outcome: 'failed', changed: null, attempts: [{ attempt: 1, outcome: 'failed' }] },
        { outcome: 'completed', changed: { path: GOOD, max_retries: 2 }, attempts: [{ attempt: 1, outcome: 'completed' }] },
      ],
    });
    expect(result.metadata).toMatchObject({ 'stage_0_source.local': 'completed', health: 'ok' });
  });

  test('retry as it is: the file has come meanwhile; a failure asks again', async () => {
    const result = await run(input(), {
      act: async (started) => {
        const { since } = (await waiting(started)).waiting!;
        await resolve(started, { action: 'retry' });
        for (;;) if ((await waiting(started).catch(() => null))?.waiting?.since !== since) break;
        await waiting(started);
        await copyFile(GOOD, late());
        await resolve(started, { action: 'retry' });
      },
    });
    expect(result.status).toBe('completed');
    expect(result.stages[0]!.tries.map(({ outcome }) => outcome)).toEqual(['failed', 'failed', 'completed']);
  });

  test('skip: the run goes on without the stage', async () => {
    const bad: StageSpec = { type: 'modifier.freezing', submodules_to_freeze: ['no.such'], strict: true, on_error: 'wait' };
    const result = await run(
      { stages: [source(), loader, bad, sink()] },
      {
        act: async (started) => {
          await waiting(started);
          await resolve(started, { action: 'skip' });
        },
      },
    );
    expect(result.status).toBe('completed');
    expect(result.stages[2]).toMatchObject({ status: 'skipped', error: { type: 'CheckpointConfigError' } });
    expect(result.metadata).toMatchObject({ health_issues: ['stage 3 (modifier.freezing) failed and was skipped'] });
  });

  test('abort: the run fails with the error of the stage', async () => {
    const result = await run(input(), {
      act: async (started) => {
        await waiting(started);
        await resolve(started, { action: 'abort' });
      },
    });
    expect(result).toMatchObject({
      status: 'failed',
      error: { type: 'CheckpointNotFoundError', details: { resolution: 'abort', pipeline_stage_index: 0 } },
    });
    expect(result.stages[0]).toMatchObject({ status: 'failed' });
  });

  test('cancelled while it waits; after its end nothing is answered', async () => {
    let ended: StartedRun | undefined;
    const result = await run(input(), {
      act: async (started) => {
        ended = started;
        await waiting(started);
        await runs.cancel(started);
      },
    });
    expect(result).toMatchObject({ status: 'cancelled', waiting: null });
    expect(result.stages.map(({ status }) => status)).toEqual(['cancelled', 'pending', 'pending']);
    const refused = await refusal(resolve(ended!, { action: 'retry' }));
    expect(refused).toBeInstanceOf(CheckpointNotFoundError);
    expect(refused.message).toContain('has ended (cancelled)');
  });

  test('a run that does not wait takes no answer', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((done) => (release = done));
    const result = await run(scrub(), {
      disturb: (services) => ({ open: async (uri) => held.then(() => services.open(uri)) }),
      act: async (started) => {
        const error = await refusal(resolve(started, { action: 'skip' }));
        expect([error.code, error.details['reason']]).toEqual(['CheckpointConfigError', 'not_waiting']);
        release();
      },
    });
    expect(result.status).toBe('completed');
  });
});

test('a source without tensors publishes nothing: the output that is there stays as it is', async () => {
  const uri = join(folder, 'out.safetensors');
  await copyFile(fixture('good/dtypes.safetensors'), uri);
  const result = await run(scrub(source({ path: fixture('good/no_tensors.safetensors') })));
  expect(result.error).toMatchObject({
    type: 'CheckpointValidationError',
    message: expect.stringContaining('The source holds no tensor.'),
  });
  expect(result.outputs).toEqual([]);
  expect(await readFile(uri)).toEqual(await readFile(fixture('good/dtypes.safetensors')));
});

describe('preflight', () => {
  test('a stage that the worker lacks: its plug-ins are named, not only the document', async () => {
    const { error } = await run({ stages: [source(), loader, { type: 'modifier.of_a_plugin' }, sink()] });
    expect(error).toMatchObject({
      type: 'CheckpointConfigError',
      message: expect.stringMatching(/^Unknown stage type `modifier\.of_a_plugin`\./),
      details: { reason: 'unknown_stage', suggestion: expect.stringContaining('`ckpt worker --plugins') },
    });
  });

  test('all problems at once, before anything is read or written', async () => {
    let opened = 0;
    await writeFile(join(folder, 'file'), '');
    const result = await run(
      {
        stages: [
          source({ path: join(folder, 'missing.ckpt') }),
          { type: 'loader.transfer_learning', target: join(folder, 'no-model.pt') },
          { type: 'modifier.frezing' },
          { type: 'sink.publish', uri: join(folder, 'file', 'out.safetensors'), fromat: 'pytorch' },
          { type: 'sink.publish', uri: join(folder, 'file', 'other.safetensors') },
        ],
      },
      { disturb: (services) => ({ open: (uri) => (opened++, services.open(uri)) }) },
    );
    expect(result.error!.type).toBe('CheckpointValidationError');
    expect(result.error!.details['problems']).toEqual([
      { path: 'stages[0].path', code: 'CheckpointNotFoundError', message: expect.stringContaining('missing.ckpt') },
      { path: 'stages[1].target', code: 'CheckpointNotFoundError', message: expect.stringContaining('no-model.pt') },
      { path: 'stages[2].type', code: 'CheckpointConfigError', message: expect.stringContaining('`modifier.freezing`') },
      { path: 'stages[3].fromat', code: 'CheckpointConfigError', message: expect.stringContaining('`format`') },
      { path: 'stages[4].uri', code: 'CheckpointConfigError', message: expect.stringContaining('cannot be written') },
    ]);
    expect(result.error!.details['num_errors']).toBe(5);
    expect(result.stages.map(({ status, attempts }) => `${status} ${attempts}`)).toEqual(Array(5).fill('failed 0'));
    expect(opened).toBe(2);
    expect((await readdir(folder)).sort()).toEqual(['file', 'workspace']);
  });

  test('several problems of the document alone: CheckpointConfigError', async () => {
    const result = await run({ stages: [source({ pth: 1 }), { type: 'loader.weights_only', strct: true }] });
    expect(result.error).toMatchObject({ type: 'CheckpointConfigError', details: { config_path: 'stages[0].pth', num_errors: 2 } });
  });

  test('a relative location, whoever starts the run', async () => {
    const worker = await workerOf(environment, TASK_QUEUE, servicesOf(join(folder, 'workspace')));
    const input: PipelineInput = { stages: [source({ path: 'in.ckpt' }), loader, { type: 'sink.publish', uri: 'out.safetensors' }] };
    const options = { args: [input], taskQueue: TASK_QUEUE, workflowId: `relative-${randomUUID()}` };
    const result = await worker.runUntil(async () => {
      await environment.client.workflow.start(PIPELINE_WORKFLOW, options);
      return runs.settled(options.workflowId);
    });
    expect(result.error).toMatchObject({ type: 'CheckpointConfigError', details: { num_errors: 2, config_path: 'stages[0].path' } });
    expect(JSON.stringify(result.error!.details['problems'])).toContain('is the relative location');
    await expect(runs.cancel(options.workflowId)).rejects.toThrow(`${options.workflowId} has ended (failed): there is nothing to cancel.`);
  });

  test('two outputs of one place', async () => {
    const publish = { type: 'sink.publish', uri: join(folder, 'twice.safetensors') };
    const result = await run({ stages: [source(), { type: 'loader.weights_only' }, publish, publish] });
    expect(result.error).toMatchObject({ type: 'CheckpointConfigError', details: { config_path: 'stages[3].uri' } });
    expect(result.stages.map(({ attempts }) => attempts)).toEqual([0, 0, 0, 0]);
  });

  test('one problem keeps its error', async () => {
    const result = await run(scrub(source({ path: join(folder, 'missing.ckpt') })));
    expect(result.error).toMatchObject({
      type: 'CheckpointNotFoundError',
      details: { path: join(folder, 'missing.ckpt'), pipeline_stage_index: 0, problems: [{ path: 'stages[0].path' }] },
    });
    expect(result.metadata).toMatchObject({
      validation_performed: true,
      validation_environment_status: 'error',
      validation_config_status: 'ok',
    });
  });

  test('a workspace that cannot be reached', async () => {
    await writeFile(join(folder, 'file'), '');
    const result = await run(scrub(), { disturb: () => servicesOf(join(folder, 'file', 'workspace')) });
    // Storage may come back, so it is the first stage that fails, after its retries.
    expect(result.error).toMatchObject({ type: 'CheckpointSourceError', details: { pipeline_stage_index: 0, attempts: 3 } });
    expect(result.metadata).toMatchObject({ validation_environment_status: 'warning' });
  });

  test('what an earlier stage publishes need not be there yet', async () => {
    const published = join(folder, 'out.safetensors');
    const again: StageSpec = { type: 'sink.publish', uri: join(folder, 'again.safetensors') };
    const result = await run({ stages: [source(), loader, sink(), source({ path: published }), loader, again] });
    expect(result.status).toBe('completed');
  });

  test('a check that breaks stops nothing', async () => {
    let calls = 0;
    const result = await run(scrub(), {
      disturb: (services) => ({
        workspace: (uri) => {
          // All attempts of the preflight, of which one is a part of the workflow's first step, and no stage.
          if (++calls <= 3) throw new Error('broken');
          return services.workspace(uri);
        },
      }),
    });
    expect(result).toMatchObject({ status: 'completed', metadata: { validation_performed: false, validation_error: 'broken' } });
  });

  test('it costs the server no activity where all answers at once, and holds the run up for no slow place', async () => {
    const quick = await run(scrub());
    const slow = await run(scrub(source(), { name: 'slow' }), {
      disturb: (services) => ({
        workspace: (uri) => {
          const workspace = services.workspace(uri);
          return { ...workspace, reach: () => sleep(2500).then(() => workspace.reach()) };
        },
      }),
    });
    const activities = async ({ workflow_id: id }: PipelineResult): Promise<readonly string[]> => {
      const { events } = await environment.client.workflow.getHandle(id).fetchHistory();
      return events!.flatMap(({ activityTaskScheduledEventAttributes: one }) => (one ? [one.activityType!.name!] : []));
    };
    const stages = ['source.local', 'loader.weights_only', 'sink.publish'];
    expect(await activities(quick)).toEqual(stages);
    expect(await activities(slow)).toEqual(['pipeline.preflight', ...stages]);
    for (const { status, metadata } of [quick, slow]) {
      expect(status).not.toBe('failed');
      expect(metadata).toMatchObject({ validation_performed: true, validation_environment_status: 'ok' });
    }
  });
});

test('async_execution is accepted, and one note says that it changes nothing', async () => {
  const result = await run(scrub(source(), { async_execution: false }));
  expect(result).toMatchObject({ status: 'completed', metadata: { notes: [expect.stringContaining('async_execution')] } });
});

test('an empty pipeline succeeds, and its record has what the checks said', async () => {
  const result = await run({ stages: [] });
  expect(result).toMatchObject({ status: 'completed', outputs: [], metadata: { validation_performed: true, health: 'ok' } });
});

describe('search attributes', () => {
  test('a server without them: runs work, and whoever starts one is told once; then they are registered, and runs are found', async () => {
    const { client, connection } = environment;
    const before = await registeredAttributes(connection, 'default');
    expect(before.present).toEqual([]);
    const said: string[] = [];
    const noting = new CheckpointClient({ client }, { note: (line) => said.push(line) });
    const services = servicesOf(join(folder, 'workspace'));
    const worker = await workerOf(environment, TASK_QUEUE, services);
    await worker.runUntil(async () => {
      const bare = await noting.start(scrub());
      expect((await runs.settled(bare)).status).toBe('completed');
      expect(said).toEqual([expect.stringContaining('`ckpt setup`')]);

      expect((await registerAttributes(connection, 'default')).present).toHaveLength(7);
      expect((await registerAttributes(connection, 'default')).missing).toEqual([]);

      const good = await noting.start({ ...scrub(), stages: [source(), loader, { ...sink(), uri: join(folder, 'b') }] });
      await runs.settled(good);
      expect(said).toHaveLength(1);
      const stuck = await runs.start(scrub(source({ path: join(folder, 'no') }), { on_error: 'wait' }));
      await waiting(stuck);
      const found = async (query: string, id: string): Promise<void> => {
        for (;;) {
          for await (const { workflowId } of client.workflow.list({ query })) if (workflowId === id) return;
          await sleep(100);
        }
      };
      await found(
        `CheckpointStatus = 'completed' AND CheckpointFormat = 'lightning' AND CheckpointTensors = 5 AND CheckpointBytes > 0`,
        good.workflowId,
      );
      await found(`CheckpointStatus = 'waiting' AND CheckpointStage = 'source.local'`, stuck.workflowId);
      await resolve(stuck, { action: 'abort' });
      await found(`CheckpointStatus = 'failed' AND CheckpointStage = 'source.local'`, stuck.workflowId);
      const { events } = await client.workflow.getHandle(good.workflowId).fetchHistory();
      expect(events!.filter(({ upsertWorkflowSearchAttributesEventAttributes: upsert }) => upsert)).toHaveLength(1);
    });
  });
});
