/**
 * Records the histories that the replay test replays: `npm run record-histories`, for each version that is released; before its
 * release, with the names of those to record again.
 *
 * Histories of released versions are never recorded again: runs of that version may be under way in somebody's cluster, and
 * the workflow of today must go on with them (`patched()` where it has changed). Real runs with the real stages on the dev
 * server, in a folder of a neutral name, so that nothing of the machine gets into the files.
 */
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { loadCatalog } from '../../activities/catalog.ts';
import { mapErrors } from '../../activities/failure.ts';
import { createActivities } from '../../activities/index.ts';
import type { Services } from '../../activities/services.ts';
import { CheckpointSourceError } from '../../src/errors.ts';
import { BATCH_WORKFLOW, type BatchInput } from '../../src/pipeline/batch.ts';
import {
  PIPELINE_WORKFLOW,
  RESOLVE_UPDATE,
  STATUS_QUERY,
  TASK_QUEUE,
  type PipelineInput,
  type PipelineResult,
} from '../../src/pipeline/contract.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';
import { devServer, servicesOf, WORKFLOW_BUNDLE } from '../support/temporal.ts';

const DATA = '/tmp/ckpt-history';

interface Recording {
  readonly name: string;
  readonly input: PipelineInput | BatchInput;
  /** Of each run of a batch, in their order, where it continues as new. */
  readonly runs?: readonly string[];
  /** Over the real services: what goes wrong. */
  readonly disturb?: (services: Services) => Services;
  readonly during?: (handle: WorkflowHandle) => Promise<void>;
}

function scrub(source: string, target: string): PipelineInput {
  return {
    name: 'history',
    workspace: join(DATA, 'workspace'),
    stages: [
      { type: 'source.local', path: join(DATA, source) },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: join(DATA, target) },
    ],
  };
}

const RECORDINGS: readonly Recording[] = [
  { name: 'completed', input: scrub('last.ckpt', 'out.safetensors') },
  { name: 'reported', input: { ...scrub('last.ckpt', 'reported.safetensors'), report: true } },
  { name: 'unchanged', input: scrub('last.ckpt', 'out.safetensors') },
  { name: 'failed', input: scrub('unsafe.pt', 'unsafe.safetensors') },
  { name: 'continued', input: { ...scrub('unsafe.pt', 'continued.safetensors'), continue_on_error: true } },
  // The document is refused before any activity.
  { name: 'refused', input: { ...scrub('last.ckpt', 'refused.safetensors'), max_retries: 0 } },
  {
    name: 'retried',
    input: scrub('last.ckpt', 'retried.safetensors'),
    disturb: (services) => {
      let calls = 0;
      const open: Services['open'] = async (uri) => {
        if (++calls < 3) throw new CheckpointSourceError('the disk is away for a moment', uri);
        return services.open(uri);
      };
      return { ...services, open };
    },
  },
  {
    name: 'cancelled',
    input: scrub('last.ckpt', 'cancelled.safetensors'),
    disturb: (services) => ({
      ...services,
      openPinned: async (file) => {
        const source = await services.openPinned(file);
        // Lasts until the run is cancelled.
        const readInto: typeof source.readInto = (_offset, _target, signal) =>
          new Promise((_resolve, reject) => signal!.addEventListener('abort', () => reject(signal!.reason as Error)));
        return { ...source, readInto };
      },
    }),
    during: async (handle) => {
      while (!(await readdir(DATA)).some((name) => name.endsWith('.partial'))) await sleep(20);
      await handle.cancel();
    },
  },
  {
    name: 'waited',
    input: { ...scrub('late.ckpt', 'waited.safetensors'), on_error: 'wait' },
    during: async (handle) => {
      await waiting(handle);
      await copyFile(join(DATA, 'last.ckpt'), join(DATA, 'late.ckpt'));
      await handle.executeUpdate(RESOLVE_UPDATE, { args: [{ action: 'retry', options: { max_retries: 2 } }] });
    },
  },
  {
    name: 'skipped',
    input: { ...scrub('never.ckpt', 'skipped.safetensors'), on_error: 'wait' },
    during: async (handle) => {
      await waiting(handle);
      await handle.executeUpdate(RESOLVE_UPDATE, { args: [{ action: 'skip' }] });
    },
  },
  // The second run begins with a child of the first, which is slow.
  {
    name: 'batch',
    input: batchOf(10, { max_concurrent: 4, continue_after: 6, continue_on_error: true }),
    runs: ['batch-continued', 'batch-completed'],
    disturb: slowly('item-1.', 3000),
  },
  { name: 'batch-failed', input: batchOf(6, { max_concurrent: 1, max_failures: 0 }) },
  {
    name: 'batch-cancelled',
    input: batchOf(10, { max_concurrent: 4, continue_after: 6, continue_on_error: true }),
    runs: ['batch-continued-before-cancel', 'batch-cancelled'],
    disturb: slowly('item-', 1500),
    during: async (handle) => {
      const first = (await handle.describe()).runId;
      while ((await handle.describe()).runId === first) await sleep(50);
      await handle.cancel();
    },
  },
];

/** Items of which the fourth is broken. */
function batchOf(count: number, settings: Partial<BatchInput>): BatchInput {
  const { stages, ...pipeline } = scrub('unused', 'batch/${item.key}');
  return {
    name: 'history',
    items: Array.from({ length: count }, (_, index) => join(DATA, index === 3 ? 'unsafe.pt' : `item-${index}.ckpt`)),
    pipeline: { ...pipeline, stages: [{ type: 'source.local', path: '${item.uri}' }, ...stages.slice(1)] },
    ...settings,
  };
}

function slowly(name: string, milliseconds: number): (services: Services) => Services {
  return (services) => ({
    ...services,
    open: async (uri, signal) => {
      if (uri.includes(name)) await sleep(milliseconds);
      return services.open(uri, signal);
    },
  });
}

async function waiting(handle: WorkflowHandle): Promise<void> {
  while ((await handle.query<PipelineResult>(STATUS_QUERY)).status !== 'waiting') await sleep(50);
}

/** Texts by the names of their files. */
async function record(environment: TestWorkflowEnvironment, recording: Recording): Promise<ReadonlyMap<string, string>> {
  const { name, input, runs = [name], disturb = (same) => same, during = async () => undefined } = recording;
  const client = new Client({ connection: environment.connection, identity: 'client@history' });
  const worker = await Worker.create({
    connection: environment.nativeConnection,
    identity: 'worker@history',
    taskQueue: TASK_QUEUE,
    workflowBundle: { codePath: WORKFLOW_BUNDLE },
    activities: createActivities(await loadCatalog(), disturb(servicesOf(join(DATA, 'workspace')))),
    interceptors: { activity: [mapErrors] },
    maxHeartbeatThrottleInterval: '1s',
  });
  return worker.runUntil(async () => {
    const workflow = 'items' in input ? BATCH_WORKFLOW : PIPELINE_WORKFLOW;
    const handle = await client.workflow.start(workflow, { workflowId: name, taskQueue: TASK_QUEUE, args: [input] });
    await during(handle);
    // How it ends is told by the history.
    await handle.result().catch(() => undefined);
    const texts = new Map<string, string>();
    let runId: string | undefined = handle.firstExecutionRunId;
    for (const run of runs) {
      if (runId === undefined) throw new Error(`${name} has fewer runs than ${runs.length}`);
      const history = await client.workflow.getHandle(name, runId).fetchHistory();
      texts.set(run, neutral(historyToJSON(history)));
      runId = history.events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined;
    }
    if (runId !== undefined) throw new Error(`${name} has more runs than ${runs.length}`);
    return texts;
  });
}

/** Stack traces name the files of this checkout; replay does not look at them. */
function neutral(json: string): string {
  return `${JSON.stringify(JSON.parse(json), null, 1)}\n`
    .replaceAll(PROJECT_ROOT, '/checkpoint-pipeline')
    .replaceAll(hostname(), 'history');
}

const { version } = JSON.parse(await readFile(join(PROJECT_ROOT, 'package.json'), 'utf8')) as { version: string };
const folder = join(PROJECT_ROOT, 'test', 'replay', 'histories', version);
await rm(DATA, { recursive: true, force: true });
await mkdir(DATA, { recursive: true });
await mkdir(folder, { recursive: true });
await copyFile(fixture('good/lightning_trained.ckpt'), join(DATA, 'last.ckpt'));
for (let index = 0; index < 10; index++) await copyFile(fixture('good/lightning_trained.ckpt'), join(DATA, `item-${index}.ckpt`));
await copyFile(fixture('unsafe/call_os_system.pt'), join(DATA, 'unsafe.pt'));
const environment = await devServer();
try {
  const wanted = process.argv.slice(2);
  for (const recording of RECORDINGS) {
    if (wanted.length > 0 && !wanted.includes(recording.name)) continue;
    for (const [name, text] of await record(environment, recording)) {
      await writeFile(join(folder, `${name}.json`), text);
      process.stdout.write(`${version}/${name}\n`);
    }
  }
} finally {
  await environment.teardown();
  await rm(DATA, { recursive: true, force: true });
}
