/**
 * What others rely on. A name that goes or changes here is a breaking change for clients, for runs under way, and for whoever
 * reads exit codes; new ones may be added.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Command } from 'commander';
import { loadCatalog } from '../activities/catalog.ts';
import { createActivities } from '../activities/index.ts';
import { exitCodeOf } from '../src/app/cli/output.ts';
import { CheckpointConfigError, ERROR_CODES } from '../src/errors.ts';
import { checkpointService } from '../src/nexus.ts';
import {
  DISCARD_SUFFIX,
  PIPELINE_WORKFLOW,
  REPORT_ACTIVITY,
  STATUS_QUERY,
  TASK_QUEUE,
  type PipelineResult,
} from '../src/pipeline/contract.ts';
import { OVERLAPS, SCHEDULE_KEYS } from '../src/pipeline/schedule.ts';
import { fixture, PROJECT_ROOT } from './support/project.ts';
import { devServer, servicesOf, workerOf } from './support/temporal.ts';

type Event = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];
type Scheduled = NonNullable<Event['activityTaskScheduledEventAttributes']>;

let environment: TestWorkflowEnvironment;
let folder: string;
let result: PipelineResult;
let queries: readonly string[];
let scheduled: ReadonlyMap<string, Scheduled>;

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-surface-'));
  const worker = await workerOf(environment, 'surface', servicesOf(join(folder, 'workspace')));
  await worker.runUntil(async () => {
    const handle = await environment.client.workflow.start('checkpointPipeline', {
      taskQueue: 'surface',
      workflowId: 'surface',
      args: [
        {
          stages: [
            { type: 'source.local', path: fixture('good/state_dict.pt') },
            { type: 'loader.weights_only', max_retries: 5, timeout: 60 },
            { type: 'sink.publish', uri: join(folder, 'out.safetensors') },
          ],
        },
      ],
    });
    result = (await handle.result()) as PipelineResult;
    const metadata = await handle.query<{ definition: { queryDefinitions: readonly { name: string }[] } }>('__temporal_workflow_metadata');
    queries = metadata.definition.queryDefinitions.map(({ name }) => name);
    const events: readonly Event[] = (await handle.fetchHistory()).events ?? [];
    scheduled = new Map(
      events.flatMap(({ activityTaskScheduledEventAttributes: one }) => (one ? [[one.activityType!.name!, one] as const] : [])),
    );
  });
});
afterAll(async () => {
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

test('workflow types', async () => {
  // Compiled workflows: what the bundle is made of.
  const workflows = (await import('../workflows/index.ts')) as Record<string, unknown>;
  expect(Object.keys(workflows)).toEqual(expect.arrayContaining(['checkpointPipeline']));
  expect(PIPELINE_WORKFLOW).toBe('checkpointPipeline');
  for (const name of Object.keys(workflows)) expect(name).toMatch(/^checkpoint[A-Z]\w+$/);
});

test('activity types: stage types, and what removes the left-overs of those that write', async () => {
  const types = Object.keys(createActivities(await loadCatalog(), servicesOf(folder)));
  expect(types).toEqual(
    expect.arrayContaining(['source.local', 'loader.weights_only', 'sink.publish', 'sink.publish.discard', 'pipeline.report']),
  );
  expect(REPORT_ACTIVITY).toBe('pipeline.report');
  expect(DISCARD_SUFFIX).toBe('.discard');
});

test('task queue, query and metadata keys', () => {
  expect(TASK_QUEUE).toBe('checkpoints');
  expect(STATUS_QUERY).toBe('status');
  expect(queries).toEqual(expect.arrayContaining(['status']));
  expect(result.metadata).toMatchObject({
    'stage_0_source.local': 'completed',
    'stage_1_loader.weights_only': 'completed',
    'stage_2_sink.publish': 'completed',
  });
});

test('the result', () => {
  expect(Object.keys(result)).toEqual(
    expect.arrayContaining(['workflow_id', 'run_id', 'status', 'stages', 'outputs', 'metadata', 'error']),
  );
  expect(Object.keys(result.stages[0]!)).toEqual(expect.arrayContaining(['index', 'type', 'status', 'attempts', 'summary', 'error']));
  expect(Object.keys(result.outputs[0]!)).toEqual(expect.arrayContaining(['uri', 'format', 'size', 'sha256', 'tensors']));
});

/** As the server was told, in seconds. */
function callOf(type: string): unknown {
  const { retryPolicy, startToCloseTimeout, heartbeatTimeout } = scheduled.get(type)!;
  const seconds = (duration: { seconds?: unknown } | null | undefined): number => Number(duration?.seconds ?? 0);
  return {
    attempts: retryPolicy!.maximumAttempts,
    first: seconds(retryPolicy!.initialInterval),
    backoff: retryPolicy!.backoffCoefficient,
    timeout: seconds(startToCloseTimeout),
    heartbeat: seconds(heartbeatTimeout),
  };
}

test('the retry table', () => {
  const usual = { attempts: 3, first: 1, backoff: 2, timeout: 300, heartbeat: 30 };
  expect(callOf('source.local')).toEqual(usual);
  expect(callOf('loader.weights_only')).toEqual({ ...usual, attempts: 5, timeout: 60 });
  expect(callOf('sink.publish')).toEqual({ ...usual, timeout: 24 * 3600, heartbeat: 10 });
  const final = [
    'CheckpointNotFoundError',
    'CheckpointLoadError',
    'CheckpointIncompatibleError',
    'CheckpointValidationError',
    'CheckpointConfigError',
    'NotFoundError',
  ];
  for (const { retryPolicy } of scheduled.values()) expect([...retryPolicy!.nonRetryableErrorTypes!].sort()).toEqual([...final].sort());
});

test('error codes and exit codes', () => {
  expect([...ERROR_CODES].sort()).toEqual(
    [
      'CheckpointError',
      'CheckpointNotFoundError',
      'CheckpointLoadError',
      'CheckpointIncompatibleError',
      'CheckpointValidationError',
      'CheckpointConfigError',
      'CheckpointSourceError',
      'CheckpointTimeoutError',
    ].sort(),
  );
  expect(exitCodeOf(new CheckpointConfigError('x'))).toBe(2);
  expect(exitCodeOf(new Error('x'))).toBe(1);
  for (const code of ERROR_CODES) {
    const error = Object.assign(new Error('x'), { code });
    expect([code, exitCodeOf(error)]).toEqual([code, code === 'CheckpointConfigError' ? 2 : 1]);
  }
});

test('the Nexus service', () => {
  expect(checkpointService.name).toBe('checkpoint');
  expect(Object.values(checkpointService.operations).map(({ name }) => name)).toEqual(expect.arrayContaining(['runPipeline', 'runBatch']));
});

test('the schedule document', () => {
  expect([...SCHEDULE_KEYS]).toEqual([
    'id',
    'pipeline',
    'batch',
    'cron',
    'every',
    'offset',
    'time_zone',
    'jitter',
    'overlap',
    'catch_up',
    'paused',
    'note',
  ]);
  expect([...OVERLAPS]).toEqual(['skip', 'buffer_one', 'buffer_all', 'cancel_other', 'terminate_other', 'allow_all']);
});

test('the library, as programs import it', async () => {
  const { exports } = JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8')) as { exports: Record<string, unknown> };
  expect(Object.keys(exports)).toEqual(expect.arrayContaining(['.', './nexus', './plugin', './package.json']));
  const library = await import('../src/index.ts');
  expect(Object.keys(library)).toEqual(expect.arrayContaining(['CheckpointClient', 'checkDocument', 'isCheckpointError', ...ERROR_CODES]));
  const methods = (of: object): string[] => [...Object.getOwnPropertyNames(of), ...Object.getOwnPropertyNames(Object.getPrototypeOf(of))];
  expect(methods(library.CheckpointClient.prototype)).toEqual(
    expect.arrayContaining(['start', 'execute', 'result', 'settled', 'status', 'watch', 'cancel', 'resolveFailure', 'transfer', 'close']),
  );
  const { batch, schedules } = new library.CheckpointClient({ client: environment.client });
  expect(methods(Object.getPrototypeOf(batch) as object)).toEqual(
    expect.arrayContaining(['start', 'execute', 'result', 'settled', 'status', 'watch', 'cancel', 'pause', 'resume', 'retry']),
  );
  const verbs = ['create', 'apply', 'update', 'list', 'describe', 'pause', 'unpause', 'trigger', 'backfill', 'delete'];
  expect(methods(Object.getPrototypeOf(schedules) as object)).toEqual(expect.arrayContaining(verbs));
  const { addSchedule } = await import('../src/app/cli/schedule-commands.ts');
  expect(addSchedule(new Command()).commands.map((command) => command.name())).toEqual(expect.arrayContaining(verbs));
});

test('the Node version is one and the same everywhere', () => {
  const read = (name: string): string => readFileSync(join(PROJECT_ROOT, name), 'utf8');
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } };
  expect(engines.node).toBe('>=20.19');
  expect(read('.nvmrc').trim()).toBe('24');
  const image = /node:(\d+\.\d+\.\d+)/.exec(read('Dockerfile'))![1]!;
  expect(image).toMatch(/^24\./);
  expect(/^NODES='(.*)'$/m.exec(read('.ci/run'))![1]!.split(' ')).toEqual(['20.19.0', image]);
  expect(read('README.md')).toMatch(/Node 20\.19 or newer \(24 is recommended\)/);
});
