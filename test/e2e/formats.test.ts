/** Every output format through the real pipeline: what is published, what is said, what a second run and a failed one leave. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Services } from '../../activities/services.ts';
import { CheckpointLoadError, type Json } from '../../src/errors.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import type { Manifest } from '../../src/io/publish/manifest.ts';
import type { PipelineResult, StageSpec } from '../../src/pipeline/contract.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { EXPECTED, fixture, PROJECT_ROOT } from '../support/project.ts';
import { digestsOf, headerOf } from '../support/publish.ts';
import { devServer, runPipeline, servicesOf } from '../support/temporal.ts';

const LIGHTNING = 'good/lightning_trained.ckpt';
let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await devServer();
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-formats-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function execute(source: string, loader: string, sink: Omit<StageSpec, 'type'>, services?: Services): Promise<PipelineResult> {
  const stages = [{ type: 'source.local', path: source }, { type: loader }, { type: 'sink.publish', ...sink }];
  return runPipeline(environment, { stages, max_retries: 1 }, services ?? servicesOf(join(folder, 'workspace')));
}

async function manifestOf(result: PipelineResult): Promise<Manifest> {
  return JSON.parse(await readFile(fileURLToPath(result.outputs[0]!.manifest), 'utf8')) as Manifest;
}

async function weightsOf(path: string): Promise<ReadonlyMap<string, unknown>> {
  const plan = selectWeights(await headerOf(path), { skipUnsupported: false });
  return digestsOf(plan, plan.tensors, () => openLocalFile(path));
}

test('a folder of slices that ranks wrote is published whole', async () => {
  const ranks = join(PROJECT_ROOT, 'test', 'fixtures', 'readers', 'ranks');
  const uri = join(folder, 'out.safetensors');
  const result = await execute(ranks, 'loader.weights_only', { uri });
  expect(result).toMatchObject({ status: 'completed', metadata: { source_path: ranks } });
  const expected = JSON.parse(await readFile(join(ranks, '..', 'expected.json'), 'utf8')) as Readonly<Record<'ranks', { tensors: object }>>;
  const { tensors } = await manifestOf(result);
  const published = tensors.map(({ name, dtype, shape, sha256 }) => [name, { dtype, shape, sha256 }]);
  expect(Object.fromEntries(published)).toEqual(expected.ranks.tensors);
  expect((await headerOf(uri)).metadata).toEqual({ format: 'pt' });
});

test.each(['lightning', 'pytorch', 'state_dict'] as const)('%s: weights, training state, manifest, and a second run', async (format) => {
  const uri = join(folder, `out.${format}.ckpt`);
  const first = await execute(fixture(LIGHTNING), 'loader.warm_start', { uri, format });
  expect(first).toMatchObject({ status: 'completed', metadata: { epoch: 1, global_step: 8, loading_strategy: 'warm_start' } });
  const bytes = await readFile(uri);
  expect(first.outputs[0]).toMatchObject({ format, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  expect(await weightsOf(uri)).toEqual(new Map(Object.entries(EXPECTED.good[LIGHTNING]!.tensors)));
  const { training } = await headerOf(uri);
  const kept = format !== 'state_dict';
  expect(training).toMatchObject({ has_optimizer: kept, has_scheduler: kept, epoch: kept ? 1 : null, global_step: kept ? 8 : null });
  const manifest = await manifestOf(first);
  expect(manifest.tensors.map(({ name, sha256 }) => [name, sha256])).toEqual(
    Object.entries(EXPECTED.good[LIGHTNING]!.tensors).map(([name, { sha256 }]) => [name, sha256]),
  );
  const dropped = manifest.dropped.map(({ what }) => what);
  if (format === 'lightning') expect(dropped).toEqual([]);
  else expect(dropped).toEqual(expect.arrayContaining(['callbacks', 'loops']));
  expect(first.metadata['num_dropped']).toEqual(dropped.length === 0 ? undefined : dropped.length);

  const second = await execute(fixture(LIGHTNING), 'loader.warm_start', { uri, format });
  expect(second.status).toBe('unchanged');
  const less = await execute(fixture(LIGHTNING), 'loader.warm_start', { uri, format, training_state: false });
  expect(less.status).toBe('completed');
  expect((await headerOf(uri)).training).toMatchObject({ has_optimizer: false, has_scheduler: false });
});

test('views of one storage have the digests of their own bytes in the manifest', async () => {
  const views = await execute(fixture('good/conjugate_views.pt'), 'loader.weights_only', {
    uri: join(folder, 'v.pt'),
    format: 'state_dict',
  });
  expect(Object.fromEntries((await manifestOf(views)).tensors.map(({ name, sha256 }) => [name, sha256]))).toEqual(
    Object.fromEntries(Object.entries(EXPECTED.good['good/conjugate_views.pt']!.tensors).map(([name, { sha256 }]) => [name, sha256])),
  );
});

test('safetensors names tied weights and the training state it cannot hold', async () => {
  const tied = await execute(fixture('good/tied_weights.pt'), 'loader.weights_only', { uri: join(folder, 'tied.safetensors') });
  expect((await manifestOf(tied)).tied).toEqual(EXPECTED.good['good/tied_weights.pt']!.shared);
  const scrubbed = await execute(fixture(LIGHTNING), 'loader.warm_start', { uri: join(folder, 'w.safetensors') });
  expect((await manifestOf(scrubbed)).dropped).toContainEqual({
    what: 'optimizer_states',
    reason: 'safetensors holds tensors only; lightning and pytorch keep it',
  });
});

test('shards have an index that comes last; a second run is unchanged until one is touched', async () => {
  const uri = join(folder, 'model.safetensors');
  const first = await execute(fixture(LIGHTNING), 'loader.weights_only', { uri, shard_size: '100B' });
  expect(first.outputs[0]!.uri).toMatch(/\/model\.safetensors\.index\.json$/);
  const names = (await readdir(folder)).filter((name) => name !== 'workspace').sort();
  expect(names).toEqual([
    'model-00001-of-00004.safetensors',
    'model-00002-of-00004.safetensors',
    'model-00003-of-00004.safetensors',
    'model-00004-of-00004.safetensors',
    'model.safetensors.index.json',
    'model.safetensors.index.json.manifest.json',
  ]);
  const index = JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8')) as {
    metadata: { total_size: number };
    weight_map: Record<string, string>;
  };
  const expected = EXPECTED.good[LIGHTNING]!.tensors;
  expect(Object.keys(index.weight_map)).toEqual(Object.keys(expected).sort());
  expect(index.metadata.total_size).toBe(4 * (4 + 32 + 8 + 16 + 2));
  const found = new Map<string, unknown>();
  for (const name of new Set(Object.values(index.weight_map)))
    for (const [tensor, what] of await weightsOf(join(folder, name))) {
      expect(index.weight_map[tensor]).toBe(name);
      found.set(tensor, what);
    }
  expect(found).toEqual(new Map(Object.entries(expected)));

  expect((await execute(fixture(LIGHTNING), 'loader.weights_only', { uri, shard_size: '100B' })).status).toBe('unchanged');
  const shard = join(folder, names[1]!);
  await writeFile(shard, await readFile(shard));
  expect((await execute(fixture(LIGHTNING), 'loader.weights_only', { uri, shard_size: '100B' })).status).toBe('completed');
});

test('a sharded run that fails in the middle leaves no shard', async () => {
  const services = servicesOf(join(folder, 'workspace'));
  let opened = 0;
  const failing: Services = {
    ...services,
    openPinned: async (file) => {
      if (++opened > 2) throw new CheckpointLoadError('gone in the middle', file.uri);
      return services.openPinned(file);
    },
  };
  const run = execute(fixture(LIGHTNING), 'loader.weights_only', { uri: join(folder, 'model.safetensors'), shard_size: 100 }, failing);
  await expect(run).rejects.toThrow(WorkflowFailedError);
  expect(opened).toBeGreaterThan(2);
  expect(await readdir(folder)).toEqual(['workspace']);
});

test('a sharded run that fails leaves an older set of other files as it was', async () => {
  const uri = join(folder, 'model.safetensors');
  const shards = (shardSize: string) => ({ uri, shard_size: shardSize, overwrite: 'if_changed' });
  await execute(fixture(LIGHTNING), 'loader.weights_only', shards('100B'));
  const before = (await readdir(folder)).toSorted();
  const services = servicesOf(join(folder, 'workspace'));
  let opened = 0;
  const failing: Services = {
    ...services,
    openPinned: async (file) => {
      if (++opened > 1) throw new CheckpointLoadError('gone in the middle', file.uri);
      return services.openPinned(file);
    },
  };
  await expect(execute(fixture(LIGHTNING), 'loader.weights_only', shards('150B'), failing)).rejects.toThrow(WorkflowFailedError);
  expect(opened).toBeGreaterThan(1);
  expect((await readdir(folder)).toSorted()).toEqual(before);
  expect((await execute(fixture(LIGHTNING), 'loader.weights_only', shards('100B'))).status).toBe('unchanged');

  const replaced = await execute(fixture(LIGHTNING), 'loader.weights_only', shards('150B'));
  const names = (await manifestOf(replaced)).shards!.map((shard) => shard.uri.slice(shard.uri.lastIndexOf('/') + 1));
  expect(names.length).toBeGreaterThan(1);
  expect(before).not.toEqual(expect.arrayContaining(names));
  expect((await execute(fixture(LIGHTNING), 'loader.weights_only', shards('150B'))).status).toBe('unchanged');
});

test('what an output leaves beside itself in another form is named in the warnings, and stays', async () => {
  const uri = join(folder, 'model.safetensors');
  const publish = (options: Record<string, Json>) => execute(fixture(LIGHTNING), 'loader.weights_only', { uri, ...options });
  const warningsOf = async (options: Record<string, Json> = {}): Promise<unknown> => (await publish(options)).metadata['warnings'];
  expect(await warningsOf({ shard_size: '100B' })).toBeUndefined();
  const others = expect.stringMatching(
    /^model\.safetensors\.index\.json had 4 shards before .*: model-00001-of-00004\.safetensors, .*, …\./,
  );
  expect(await warningsOf({ shard_size: '150B' })).toEqual([others]);
  const set = [expect.stringMatching(/^model\.safetensors\.index\.json is beside model\.safetensors: /)];
  expect(await warningsOf()).toEqual(set);
  expect(await publish({})).toMatchObject({ status: 'unchanged', metadata: { warnings: set } });
  const whole = expect.stringMatching(/^model\.safetensors is beside model\.safetensors\.index\.json: /);
  expect(await warningsOf({ shard_size: '150B' })).toEqual([whole]);
  expect(await readdir(folder)).toEqual(expect.arrayContaining(['model.safetensors', 'model-00001-of-00004.safetensors']));
});

test('shards of another format are refused', async () => {
  const run = execute(fixture(LIGHTNING), 'loader.weights_only', { uri: join(folder, 'x.pt'), format: 'pytorch', shard_size: '1GB' });
  await expect(run).rejects.toMatchObject({ cause: { type: 'CheckpointConfigError' } });
});
