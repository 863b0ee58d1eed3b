/** A second batch over what was published starts runs only where something has changed, and never takes a change for none. */
import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Services } from '../../activities/services.ts';
import type { BatchResult, Outcome } from '../../src/pipeline/batch.ts';
import type { StageSpec } from '../../src/pipeline/contract.ts';
import { devServer, servicesOf, workerOf } from '../support/temporal.ts';
import { tinySafetensors } from '../support/tiny-safetensors.ts';
import { dict, tensor, torchFile } from '../support/torch-file.ts';

const LONG = 240_000;
const ITEMS = [0, 1, 2, 3, 4, 5];

let environment: TestWorkflowEnvironment;
let folder: string;
let queue: string;

beforeAll(async () => {
  environment = await devServer();
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-unchanged-'));
  queue = randomUUID();
  await mkdir(join(folder, 'in'));
  for (const item of ITEMS) await writeFile(input(item), tinySafetensors(item));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const input = (item: number): string => join(folder, 'in', `${item}.safetensors`);
const output = (item: number): string => join(folder, 'out', `${item}.safetensors`);

async function batch({
  loader = {},
  sink = {},
  source = {},
  more = [],
}: {
  loader?: object;
  sink?: object;
  source?: object;
  more?: readonly StageSpec[];
} = {}) {
  const handle = await environment.client.workflow.start('checkpointBatch', {
    taskQueue: queue,
    workflowId: `batch-${randomUUID()}`,
    args: [
      {
        items: { uri: join(folder, 'in') },
        continue_on_error: true,
        pipeline: {
          stages: [
            { type: 'source.local', path: '${item.uri}', ...source },
            { type: 'loader.weights_only', ...loader },
            ...more,
            { type: 'sink.publish', uri: join(folder, 'out', '${item.key}'), ...sink },
          ],
        },
      },
    ],
  });
  const result = (await handle.result()) as BatchResult;
  const lines = (await readFile(fileURLToPath(result.results!), 'utf8')).trim().split('\n');
  const outcomes = lines.map((line) => JSON.parse(line) as Outcome);
  return {
    result,
    outcomes,
    /** Items of which a run decided. */
    ran: outcomes.filter(({ workflow_id }) => workflow_id !== null).map(({ index }) => index),
  };
}

const working = async (act: () => Promise<void>, services: Services = servicesOf(join(folder, 'workspace'))): Promise<void> => {
  const worker = await workerOf(environment, queue, services);
  await worker.runUntil(act);
};

test(
  'nothing has changed: no run; what has changed, of source, output or manifest, has one',
  async () => {
    await working(async () => {
      const first = await batch();
      expect(first.result).toMatchObject({ completed: 6, unchanged: 0 });
      expect(first.ran).toEqual(ITEMS);

      const second = await batch();
      expect(second.result).toMatchObject({ status: 'completed', completed: 0, unchanged: 6, failed: 0 });
      expect(second.ran).toEqual([]);
      expect(second.outcomes[2]).toEqual({
        ...first.outcomes[2]!,
        status: 'unchanged',
        workflow_id: null,
        run_id: null,
        ended: expect.any(String),
      });

      await rm(output(0));
      await writeFile(input(1), tinySafetensors(100));
      await rm(`${output(2)}.manifest.json`);
      // The same bytes, but nobody knows that.
      await copyFile(output(3), join(folder, 'aside'));
      await rm(output(3));
      await copyFile(join(folder, 'aside'), output(3));
      const third = await batch();
      expect(third.ran).toEqual([0, 1, 2, 3]);
      expect(third.result).toMatchObject({ failed: 0, unchanged: 2 });
      expect((await readFile(output(1))).subarray(-16)).toEqual(tinySafetensors(100).subarray(-16));
      expect((await batch()).ran).toEqual([]);
    });
  },
  LONG,
);

test(
  'other options, other stages, another target, other settings of the worker: the runs decide',
  async () => {
    const target = join(folder, 'target.safetensors');
    await writeFile(target, tinySafetensors(1));
    await working(async () => {
      await batch();
      expect((await batch({ sink: { training_state: false } })).ran).toEqual(ITEMS);
      // The plan is the same, so nothing was published; now this is the recipe that is known.
      expect((await batch({ sink: { training_state: false } })).ran).toEqual([]);
      expect((await batch({ sink: { training_state: false, overwrite: 'always' } })).ran).toEqual(ITEMS);
      expect((await batch({ more: [{ type: 'modifier.metadata', values: { note: 'x' } }] })).ran).toEqual(ITEMS);
      expect((await batch({ loader: { target } })).ran).toEqual(ITEMS);
      expect((await batch({ loader: { target } })).ran).toEqual([]);
      await writeFile(target, tinySafetensors(2));
      expect((await batch({ loader: { target } })).ran).toEqual(ITEMS);
      // A spec in a file is pinned nowhere.
      const spec = join(folder, 'spec.json');
      await writeFile(spec, JSON.stringify({ weight: { shape: [4], dtype: 'F32' } }));
      for (let time = 0; time < 2; time++) expect((await batch({ loader: { target: spec } })).ran).toEqual(ITEMS);
      expect((await batch()).ran).toEqual(ITEMS);
      expect((await batch()).ran).toEqual([]);
    });
    await working(
      async () => {
        expect((await batch()).ran).toEqual(ITEMS);
      },
      { ...servicesOf(join(folder, 'workspace')), refuseUnknown: true },
    );
  },
  LONG,
);

test(
  'another key of the weights: the runs decide',
  async () => {
    const file = torchFile(dict({ params: dict({ w: tensor(0) }), params_ema: dict({ w: tensor(1) }) }), {
      '0': new Uint8Array(8),
      '1': new Uint8Array(8).fill(1),
    });
    for (const item of ITEMS) await writeFile(input(item), file);
    await working(async () => {
      expect((await batch({ source: { state_dict_key: 'params' } })).result).toMatchObject({ completed: 6 });
      expect((await batch({ source: { state_dict_key: 'params' } })).ran).toEqual([]);
      expect((await batch({ source: { state_dict_key: 'params_ema' } })).result).toMatchObject({ completed: 6, unchanged: 0 });
    });
  },
  LONG,
);

test(
  'a stage that failed and was passed over leaves nothing to rely on',
  async () => {
    await working(async () => {
      const failing = { type: 'modifier.select', include: ['nothing_like_it'], on_error: 'continue' } as const;
      const first = await batch({ more: [failing] });
      expect(first.result).toMatchObject({ completed: 6, failed: 0 });
      const manifest = JSON.parse(await readFile(`${output(0)}.manifest.json`, 'utf8')) as { recipe?: unknown };
      expect(manifest.recipe).toBeUndefined();
      expect((await batch({ more: [failing] })).ran).toEqual(ITEMS);
    });
  },
  LONG,
);
