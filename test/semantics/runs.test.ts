/** Sections 1, 2, 3, 11 and 12 on whole runs: what the record says of them, what follows a failure, what is never done. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { WorkflowFailedError } from '@temporalio/client';
import type { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { z } from 'zod';
import { loadCatalog } from '../../activities/catalog.ts';
import { mapErrors } from '../../activities/failure.ts';
import { createActivities } from '../../activities/index.ts';
import { defineStage, type StageDefinition } from '../../activities/stage.ts';
import { CheckpointClient } from '../../src/app/client.ts';
import { TASK_QUEUE, type PipelineInput, type PipelineResult, type StageSpec } from '../../src/pipeline/contract.ts';
import { fixture } from '../support/project.ts';
import { devServer, servicesOf, WORKFLOW_BUNDLE } from '../support/temporal.ts';

let environment: TestWorkflowEnvironment;
let runs: CheckpointClient;
let folder: string;
let out: string;
beforeAll(async () => {
  environment = await devServer();
  runs = new CheckpointClient({ client: environment.client });
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-semantics-runs-'));
  out = join(folder, 'out.safetensors');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A modifier that throws what it is told to, after it has written into the context. */
const breaks = defineStage({
  type: 'modifier.breaks',
  description: 'for tests',
  options: z.strictObject({ how: z.enum(['type', 'memory', 'out_of_memory_code']) }),
  run: async ({ options, context }) => {
    (context.metadata as Record<string, unknown>)['half_done'] = true;
    if (options.how === 'memory') throw new RangeError('Array buffer allocation failed');
    if (options.how === 'out_of_memory_code') throw Object.assign(new Error('cannot allocate memory'), { code: 'ENOMEM' });
    throw new TypeError('x is not a function');
  },
});

const GOOD = fixture('good/lightning_trained.ckpt');
const source = (more: Partial<StageSpec> = {}): StageSpec => ({ type: 'source.local', path: GOOD, ...more });
const loader: StageSpec = { type: 'loader.weights_only' };
const sink = (): StageSpec => ({ type: 'sink.publish', uri: out });
const broken = (how: string): StageSpec => ({ type: 'modifier.breaks', how, max_retries: 1 });

async function run(stages: readonly StageSpec[], more: Partial<PipelineInput> = {}): Promise<PipelineResult> {
  const services = servicesOf(join(folder, 'workspace'));
  const catalog = new Map(await loadCatalog()).set(breaks.type, breaks as StageDefinition);
  const worker = await Worker.create({
    connection: environment.nativeConnection,
    taskQueue: TASK_QUEUE,
    workflowBundle: { codePath: WORKFLOW_BUNDLE },
    activities: createActivities(catalog, services),
    interceptors: { activity: [mapErrors] },
  });
  return worker.runUntil(async () => runs.settled(await runs.start({ stages, ...more }, { workflowId: `run-${randomUUID()}` })));
}

const published = async (): Promise<readonly string[]> => (await readdir(folder)).filter((name) => name !== 'workspace');

describe('1. Run state and record', () => {
  test('every key of a run that published', async () => {
    const result = await run([source(), loader, { type: 'modifier.freezing', submodules_to_freeze: ['model.encoder'] }, sink()]);
    expect(result.status).toBe('completed');
    expect(result.metadata).toEqual({
      'stage_0_source.local': 'completed',
      'stage_1_loader.weights_only': 'completed',
      'stage_2_modifier.freezing': 'completed',
      'stage_3_sink.publish': 'completed',
      validation_performed: true,
      validation_environment_status: 'ok',
      validation_config_status: 'ok',
      composition: [expect.objectContaining({ code: 'no_target', level: 'info', positions: [1] })],
      source_type: 'local',
      source_path: GOOD,
      source_bytes: expect.any(Number),
      checkpoint_format: 'lightning',
      loading_strategy: 'weights_only',
      weights_initialized: true,
      transferred_params: expect.arrayContaining(['model.encoder.weight']),
      num_transferred: 5,
      skipped_params: {},
      num_skipped: 0,
      modifiers_applied: [
        {
          type: 'freezing',
          submodules: ['model.encoder'],
          frozen_modules: [{ name: 'model.encoder', frozen_params: 2 }],
          total_frozen_params: 2,
        },
      ],
      frozen_parameters: ['model.encoder.weight', 'model.encoder.bias'],
      num_frozen: 2,
      dropped: expect.arrayContaining([{ what: 'optimizer_states', reason: 'weights only' }]),
      num_dropped: 9,
      output_path: result.outputs[0]!.uri,
      output_sha256: result.outputs[0]!.sha256,
      health: 'ok',
    });
  });
});

describe('2. Pipeline', () => {
  test('a failure: `failed: <message>`, then stop; details get pipeline_stage (from 1), pipeline_stage_index (from 0), pipeline_total_stages', async () => {
    const path = join(folder, 'nowhere.ckpt');
    const result = await run([source({ path, on_error: 'fail' }), loader, sink()]);
    expect(result.error).toMatchObject({
      type: 'CheckpointNotFoundError',
      details: {
        path,
        pipeline_stage: 'Pipeline stage 1/3 (source.local)',
        pipeline_stage_index: 0,
        pipeline_total_stages: 3,
        pipeline_stage_type: 'source.local',
        suggestion: expect.any(String),
      },
    });
    expect(result.metadata['stage_0_source.local']).toBe(`failed: ${result.error!.message}`.slice(0, 500));
    expect(result.metadata).not.toHaveProperty(['stage_1_loader.weights_only']);
  });
  test('any other error becomes a base CheckpointError: label, "failed" and the text; original_error and original_error_type', async () => {
    const { error } = await run([source(), loader, broken('type'), sink()]);
    expect(error).toMatchObject({
      type: 'CheckpointError',
      message: 'Pipeline stage 3/4 (modifier.breaks) failed: x is not a function',
      details: { original_error: 'x is not a function', original_error_type: 'TypeError', pipeline_stage_index: 2, attempts: 1 },
    });
  });
  test('continue_on_error: go on; a failed stage’s changes are dropped', async () => {
    const result = await run([source(), loader, broken('type'), sink()], { continue_on_error: true });
    expect(result).toMatchObject({
      status: 'completed',
      metadata: { 'stage_2_modifier.breaks': expect.stringContaining('failed: '), 'stage_3_sink.publish': 'completed' },
    });
    expect(result.metadata).not.toHaveProperty('half_done');
  });
  test.each(['memory', 'out_of_memory_code'])(
    'out-of-memory is never swallowed by continue_on_error and leaves no stage key (%s)',
    async (how) => {
      const result = await run([source(), loader, broken(how), sink()], { continue_on_error: true });
      expect(result).toMatchObject({ status: 'failed', error: { type: 'CheckpointError', details: { reason: 'out_of_memory' } } });
      expect(result.metadata).not.toHaveProperty(['stage_2_modifier.breaks']);
      expect(result.stages[2]!.status).toBe('failed');
      expect(await published()).toEqual([]);
    },
  );
  test('a stage whose needs are unmet is not run and gets `failed: requires <fields>`: every stage has a key', async () => {
    const result = await run([source({ path: join(folder, 'nowhere.ckpt') }), loader, sink()], { continue_on_error: true });
    expect(result.metadata).toMatchObject({
      'stage_0_source.local': expect.stringContaining('failed: '),
      'stage_1_loader.weights_only': 'failed: requires checkpoint_data',
      'stage_2_sink.publish': 'failed: requires model',
    });
  });
  test('final guard: CheckpointLoadError {path, reason: weights_never_loaded}, even with continue_on_error; such a run publishes nothing', async () => {
    const failing: StageSpec = { ...loader, strict: true, target: fixture('good/state_dict.pt') } as StageSpec;
    const result = await run([source(), failing, sink()], { continue_on_error: true });
    expect(result).toMatchObject({
      status: 'failed',
      error: {
        type: 'CheckpointLoadError',
        details: { path: expect.stringContaining('lightning_trained.ckpt'), reason: 'weights_never_loaded' },
      },
      outputs: [],
    });
    expect(await published()).toEqual([]);
  });
  test('final guard, the source itself failed: path is null', async () => {
    const result = await run([source({ path: join(folder, 'nowhere.ckpt') }), loader], { continue_on_error: true });
    expect(result.error!.details).toMatchObject({ path: null, reason: 'weights_never_loaded' });
  });
  test('a source-only run without target and output is a fetch/inspect run and succeeds', async () => {
    expect(await run([source()])).toMatchObject({ status: 'completed', error: null, metadata: { health: 'ok' } });
  });
  test('an empty pipeline succeeds: the record has only the validation keys; nothing is published', async () => {
    const result = await run([]);
    expect(result).toMatchObject({ status: 'completed', outputs: [] });
    expect(Object.keys(result.metadata).sort()).toEqual([
      'composition',
      'health',
      'validation_config_status',
      'validation_environment_status',
      'validation_performed',
    ]);
  });
});

describe('3. Errors', () => {
  test('failure type = class name, details = structured payload; both survive workflow failure and query', async () => {
    const path = join(folder, 'nowhere.ckpt');
    const result = await run([source({ path }), loader, sink()]);
    const handle = environment.client.workflow.getHandle(result.workflow_id);
    const failure = await handle.result().then(
      () => null,
      (error: unknown) => (error as WorkflowFailedError).cause as ApplicationFailure,
    );
    expect(failure).toMatchObject({ type: 'CheckpointNotFoundError', message: result.error!.message, nonRetryable: true });
    expect(failure!.details![0]).toEqual(result.error!.details);
    const services = servicesOf(join(folder, 'workspace'));
    const worker = await Worker.create({
      connection: environment.nativeConnection,
      taskQueue: TASK_QUEUE,
      workflowBundle: { codePath: WORKFLOW_BUNDLE },
      activities: createActivities(await loadCatalog(), services),
    });
    const queried = await worker.runUntil(() => runs.status(result.workflow_id));
    expect(queried.error).toEqual(result.error);
  });
});

describe('11. Health', () => {
  test('a failed stage is a finding; it does not fail a continue_on_error run', async () => {
    const result = await run([source(), loader, broken('type'), sink()], { continue_on_error: true });
    expect(result).toMatchObject({
      status: 'completed',
      metadata: { health: 'error', health_issues: ['stage 3 (modifier.breaks) failed'] },
    });
  });
  test('weights never loaded is a finding', async () => {
    const result = await run([source(), { ...loader, target: { other: { shape: [1], dtype: 'F32' } } } as StageSpec, sink()], {
      continue_on_error: true,
    });
    expect(result.metadata['health_issues']).toContain('a source was read, but no weights were loaded');
  });
});

describe('12. On Temporal', () => {
  test('the same request gives the same bytes', async () => {
    const stages = [source(), loader, { type: 'modifier.cast', dtype: 'BF16' } as StageSpec, sink()];
    const first = await run(stages);
    const bytes = await readFile(out);
    await rm(out);
    const second = await run(stages);
    expect(second.outputs[0]!.sha256).toBe(first.outputs[0]!.sha256);
    expect((await readFile(out)).equals(bytes)).toBe(true);
  });
  test('a failed run leaves no output', async () => {
    expect((await run([source(), loader, broken('type'), sink()])).status).toBe('failed');
    expect(await published()).toEqual([]);
  });
});
