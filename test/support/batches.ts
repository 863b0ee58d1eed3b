/** Batches of tiny checkpoints in a folder, on a server that knows their priorities. */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker } from '@temporalio/worker';
import type { Services } from '../../activities/services.ts';
import { registerAttributes } from '../../src/app/temporal/search-attributes.ts';
import type { BatchInput, BatchResult, Outcome } from '../../src/pipeline/batch.ts';
import { devServer, servicesOf, workerOf } from './temporal.ts';
import { tinySafetensors } from './tiny-safetensors.ts';

export interface BatchSuite {
  readonly environment: TestWorkflowEnvironment;
  /** Of each test its own, as is the queue. */
  readonly folder: string;
  readonly queue: string;
  /** With the workspace in the folder. */
  readonly services: () => Services;
  /** The same, which open what lies at such places only once `open` was called. */
  readonly held: (isHeld: (uri: string) => boolean) => { readonly services: Services; readonly open: () => void };
  /** On the queue, with these services or others. */
  readonly worker: (services?: Services, ...more: More) => Promise<Worker>;
  /** `writeItems` to the folder. */
  readonly items: (count: number, broken?: readonly number[]) => Promise<void>;
  /** `batchIn` the folder. */
  readonly batch: (more?: Partial<BatchInput>) => BatchInput;
  /** All by the same id: each begins when the one before has ended. */
  readonly start: (input: BatchInput) => Promise<WorkflowHandleWithFirstExecutionRunId>;
}

type More = Parameters<typeof workerOf> extends [unknown, unknown, unknown, ...infer Rest] ? Rest : never;

/** Where the tests of a file run their batches: one server for all of them, a folder and a queue for each. */
export function batchSuite(): BatchSuite {
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

  const services = (): Services => servicesOf(join(folder, 'workspace'));
  return {
    get environment() {
      return environment;
    },
    get folder() {
      return folder;
    },
    get queue() {
      return queue;
    },
    services,
    held(isHeld) {
      const own = services();
      let open = (): void => undefined;
      const gate = new Promise<void>((resolve) => (open = resolve));
      const openHeld: Services['open'] = async (uri, ...more) => (await (isHeld(uri) ? gate : undefined), own.open(uri, ...more));
      return { services: { ...own, open: openHeld }, open };
    },
    worker: (own = services(), ...more) => workerOf(environment, queue, own, ...more),
    items: (count, broken) => writeItems(folder, count, broken),
    batch: (more) => batchIn(folder, more),
    start: (input) =>
      environment.client.workflow.start('checkpointBatch', { taskQueue: queue, workflowId: `batch-${queue}`, args: [input] }),
  };
}

async function batchServer(): Promise<TestWorkflowEnvironment> {
  // As the embedded server has it: else priorities hold for a quarter of the queue each.
  const one = ['Read', 'Write'].map((kind) => `matching.numTaskqueue${kind}Partitions=1`);
  const environment = await devServer({ settings: [...one, 'matching.enableFairness=true'] });
  await registerAttributes(environment.connection, 'default');
  return environment;
}

/** So many checkpoints below `in`, those of even numbers in `sub`; broken ones are cut. */
async function writeItems(folder: string, count: number, broken: readonly number[] = []): Promise<void> {
  await mkdir(join(folder, 'in', 'sub'), { recursive: true });
  for (let index = 0; index < count; index++)
    await writeFile(
      join(folder, 'in', index % 2 === 0 ? 'sub' : '', `model-${index}.safetensors`),
      broken.includes(index) ? tinySafetensors(index).subarray(0, 40) : tinySafetensors(index),
    );
}

/** Of all that is below `in`, to `out`. */
function batchIn(folder: string, more: Partial<BatchInput> = {}): BatchInput {
  return {
    items: { uri: join(folder, 'in'), glob: '**/*.safetensors' },
    pipeline: {
      stages: [
        { type: 'source.local', path: '${item.uri}' },
        { type: 'loader.weights_only' },
        { type: 'sink.publish', uri: join(folder, 'out', '${item.dir}/${item.stem}.safetensors') },
      ],
    },
    continue_on_error: true,
    ...more,
  };
}

export async function outcomesOf(result: BatchResult): Promise<readonly Outcome[]> {
  const text = await readFile(fileURLToPath(result.results!), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Outcome);
}
