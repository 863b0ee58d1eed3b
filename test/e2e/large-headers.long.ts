/** Headers that take long: many at a time, as a batch brings them, or one; no run is taken for lost, and none is tried twice. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { activityInfo } from '@temporalio/activity';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Services } from '../../activities/services.ts';
import type { PipelineResult } from '../../src/pipeline/contract.ts';
import { fixture } from '../support/project.ts';
import { devServer, servicesOf, workerOf } from '../support/temporal.ts';

const TENSORS = 100_000;
const RUNS = 24;

let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-large-headers-'));
  environment = await devServer();
}, 240_000);
afterAll(async () => {
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

test(`${RUNS} runs side by side, of ${TENSORS} tensors each`, async () => {
  const header = JSON.stringify(
    Object.fromEntries(
      Array.from({ length: TENSORS }, (_, index) => [
        `model.layers.${index}.weight`,
        { dtype: 'U8', shape: [1], data_offsets: [index, index + 1] },
      ]),
    ),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const path = join(folder, 'large.safetensors');
  await writeFile(path, Buffer.concat([length, Buffer.from(header), Buffer.alloc(TENSORS, 7)]));

  const taskQueue = `test-${randomUUID()}`;
  const worker = await workerOf(environment, taskQueue, servicesOf(join(folder, 'workspace')));
  const run = (index: number): Promise<PipelineResult> =>
    environment.client.workflow.execute('checkpointPipeline', {
      taskQueue,
      workflowId: `large-${index}`,
      args: [
        {
          stages: [
            { type: 'source.local', path },
            { type: 'loader.weights_only' },
            // Each its own, so that none is there already.
            { type: 'modifier.select', include: [`*.${index}.weight`] },
            { type: 'sink.publish', uri: join(folder, 'out', `${index}.safetensors`) },
          ],
        },
      ],
    }) as Promise<PipelineResult>;
  const results = await worker.runUntil(Promise.all(Array.from({ length: RUNS }, (_, index) => run(index))));
  for (const { status, stages, outputs } of results) {
    expect([status, stages.map(({ attempts }) => attempts)]).toEqual(['completed', [1, 1, 1, 1]]);
    expect(stages.map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1]);
    expect(outputs).toMatchObject([{ tensors: 1 }]);
  }
}, 900_000);

test('a header that holds the main thread for longer than a transfer may be silent is read at the first attempt', async () => {
  const services = servicesOf(join(folder, 'workspace-held'));
  const held: Partial<Services> = {
    open: (...args) => {
      // The preflight looks at the source, too.
      if (activityInfo().activityType === 'source.local') for (const until = Date.now() + 14_000; Date.now() < until;);
      return services.open(...args);
    },
  };
  const taskQueue = `test-${randomUUID()}`;
  const worker = await workerOf(environment, taskQueue, { ...services, ...held });
  const result = await worker.runUntil(
    environment.client.workflow.execute('checkpointPipeline', {
      taskQueue,
      workflowId: 'held',
      args: [
        {
          max_retries: 1,
          stages: [
            { type: 'source.local', path: fixture('good/state_dict.pt') },
            { type: 'loader.weights_only' },
            { type: 'sink.publish', uri: join(folder, 'held.safetensors') },
          ],
        },
      ],
    }) as Promise<PipelineResult>,
  );
  expect(result.status).toBe('completed');
}, 300_000);
