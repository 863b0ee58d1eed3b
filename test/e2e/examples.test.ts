/** Every template in `examples/` through the real pipeline on a dev server, with the parameters that its first lines name. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { readDocument } from '../../src/app/cli/document.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import type { Manifest } from '../../src/io/publish/manifest.ts';
import type { Header } from '../../src/model/header.ts';
import { advise } from '../../src/pipeline/composition.ts';
import type { PipelineInput, PipelineResult } from '../../src/pipeline/contract.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { EXPECTED, fixture, PROJECT_ROOT } from '../support/project.ts';
import { digestsOf, headerOf } from '../support/publish.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';
import { devServer, runPipeline, servicesOf } from '../support/temporal.ts';

const TRAINED = 'good/lightning_trained.ckpt';
const FRESH = 'good/lightning_fresh_target.ckpt';
const EXAMPLES = join(PROJECT_ROOT, 'examples');
let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-examples-'));
});
afterAll(async () => {
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});
let output: string;
beforeEach(() => {
  output = join(folder, `${randomUUID()}.out`);
});

const execute = (document: PipelineInput): Promise<PipelineResult> =>
  runPipeline(environment, document, servicesOf(join(folder, 'workspace')));

async function runExample(name: string, parameters: Record<string, string>): Promise<{ result: PipelineResult; manifest: Manifest }> {
  const result = await execute(await readDocument(join(EXAMPLES, name), { parameters: { output, ...parameters } }));
  return { result, manifest: JSON.parse(await readFile(fileURLToPath(result.outputs[0]!.manifest), 'utf8')) as Manifest };
}

async function published(): Promise<Record<string, unknown>> {
  const plan = selectWeights(await headerOf(output), { skipUnsupported: false });
  return Object.fromEntries(await digestsOf(plan, plan.tensors, () => openLocalFile(output)));
}

test('the commands that the templates name give no warning', async () => {
  const commands: string[] = [];
  for (const path of (await readdir(EXAMPLES, { recursive: true })).filter((name) => name.endsWith('.yaml')))
    commands.push(...((await readFile(join(EXAMPLES, path), 'utf8')).match(/(?<=^# )ckpt run .*/m) ?? []));
  expect(commands.length).toBeGreaterThan(4);
  for (const command of commands) {
    const file = /\S+\.yaml/.exec(command)![0];
    const parameters = Object.fromEntries([...command.matchAll(/--param (\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!]));
    const { stages } = await readDocument(join(PROJECT_ROOT, file), { parameters });
    expect([command, advise(stages).filter(({ level }) => level === 'warning')]).toEqual([command, []]);
  }
});

test('scrub.yaml: the weights as safetensors, with a label', async () => {
  const { result } = await runExample('scrub.yaml', { source: fixture(TRAINED) });
  expect(result).toMatchObject({ status: 'completed', metadata: { loading_strategy: 'weights_only', num_transferred: 5, num_skipped: 0 } });
  expect(await published()).toEqual(EXPECTED.good[TRAINED]!.tensors);
  expect((await headerOf(output)).metadata).toMatchObject({ published_by: 'checkpoint-pipeline' });
});

test('cold-start.yaml: equal weights, epoch 0, no training state, and where they came from', async () => {
  const { result } = await runExample('cold-start.yaml', { source: fixture(TRAINED), target: fixture(TRAINED) });
  expect(result.metadata).toMatchObject({ epoch: 0, global_step: 0, loading_strategy: 'cold_start', weights_initialized: true });
  expect(String(result.metadata['pretrained_from'])).toMatch(/^file:.*lightning_trained\.ckpt$/);
  expect(await published()).toEqual(EXPECTED.good[TRAINED]!.tensors);
  expect(await headerOf(output)).toMatchObject({ format: 'pytorch', stateDictKey: 'model_state_dict', training: { has_optimizer: false } });
});

test('warm-start.yaml: against a JSON spec, with the training state', async () => {
  const spec = join(folder, 'model.json');
  const tensors = EXPECTED.good[TRAINED]!.tensors;
  await writeFile(
    spec,
    JSON.stringify(Object.fromEntries(Object.entries(tensors).map(([name, { shape, dtype }]) => [name, { shape, dtype }]))),
  );
  const { result } = await runExample('warm-start.yaml', { source: fixture(TRAINED), target: spec });
  expect(result.metadata).toMatchObject({ epoch: 1, global_step: 8, loading_strategy: 'warm_start' });
  expect(await published()).toEqual(tensors);
  expect(await headerOf(output)).toMatchObject({
    format: 'lightning',
    training: { epoch: 1, global_step: 8, has_optimizer: true, has_scheduler: true },
  });
});

const TRANSFERRED = {
  input_mean: TRAINED,
  'model.encoder.weight': FRESH,
  'model.encoder.bias': FRESH,
  'model.decoder.weight': FRESH,
  'model.decoder.bias': TRAINED,
};

test.each([
  ['transfer-learning.yaml', 'source'],
  ['anemoi/transfer-learning.yaml', 'checkpoint_path'],
])('%s: what fits from the source, the rest from the target, the encoder frozen', async (name, source) => {
  const { result, manifest } = await runExample(name, { [source]: fixture(TRAINED), target: fixture(FRESH) });
  expect(result.metadata).toMatchObject({
    loading_strategy: 'transfer_learning',
    transferred_params: ['input_mean', 'model.decoder.bias'],
    num_transferred: 2,
    num_skipped: 3,
    num_filled: 3,
    frozen_parameters: ['model.encoder.weight', 'model.encoder.bias'],
    modifiers_applied: [{ type: 'freezing', submodules: ['model.encoder'], total_frozen_params: 2 }],
  });
  const expected = Object.fromEntries(Object.entries(TRANSFERRED).map(([tensor, from]) => [tensor, EXPECTED.good[from]!.tensors[tensor]]));
  expect(await published()).toEqual(expected);
  expect(manifest.frozen).toEqual(['model.encoder.weight', 'model.encoder.bias']);
  expect(manifest.skipped).toContainEqual({
    what: 'model.encoder.bias',
    reason: 'shape_mismatch',
    details: { source_shape: [8], target_shape: [12] },
  });
  expect(JSON.parse((await headerOf(output)).metadata['frozen_parameters']!)).toEqual(['model.encoder.weight', 'model.encoder.bias']);
});

describe('nightly-s3.yaml', () => {
  let server: S3TestServer;
  beforeAll(async () => {
    server = await startS3Server();
    Object.assign(process.env, server.env);
  }, S3_SETUP_TIMEOUT);
  afterAll(() => server?.close());

  test('the newest checkpoint as bfloat16; a night without a new one moves nothing', async () => {
    const Bucket = await server.bucket();
    const [source, target] = [`s3://${Bucket}/run/last.ckpt`, `s3://${Bucket}/models/weights.safetensors`];
    const save = async (path: string) =>
      server.client.send(new PutObjectCommand({ Bucket, Key: 'run/last.ckpt', Body: await readFile(fixture(path)) }));
    const night = async (): Promise<PipelineResult> =>
      execute(await readDocument(join(EXAMPLES, 'nightly-s3.yaml'), { parameters: { source, output: target } }));
    const fetched = async (): Promise<Header> => {
      const { Body } = await server.client.send(new GetObjectCommand({ Bucket, Key: 'models/weights.safetensors' }));
      await writeFile(output, await Body!.transformToByteArray());
      return headerOf(output);
    };

    await save(TRAINED);
    const first = await night();
    expect(first).toMatchObject({
      status: 'completed',
      metadata: { source_type: 's3', s3_bucket: Bucket, s3_key: 'run/last.ckpt', num_casts: 5, output_path: target },
      outputs: [{ uri: target, tensors: 5, unchanged: false }],
    });
    const header = await fetched();
    expect(new Set(header.tensors.map(({ dtype }) => dtype))).toEqual(new Set(['BF16']));
    expect(header.metadata).toMatchObject({ published_by: 'nightly-s3' });

    expect((await night()).outputs).toEqual([expect.objectContaining({ unchanged: true, sha256: first.outputs[0]!.sha256 })]);

    await save(FRESH);
    const third = await night();
    expect(third.outputs).toEqual([expect.objectContaining({ unchanged: false })]);
    expect(third.outputs[0]!.sha256).not.toBe(first.outputs[0]!.sha256);
    expect((await fetched()).weights.map(({ name }) => name).toSorted()).toEqual(Object.keys(EXPECTED.good[FRESH]!.tensors).toSorted());
  });
});

test('no template is left out here', async () => {
  const text = await readFile(fileURLToPath(import.meta.url), 'utf8');
  // The first is run by test/e2e/package.long.ts, the other against what compose brings up: test/deployment/compose-run.long.ts.
  const others = ['quickstart.yaml', 's3.yaml'];
  const templates = (await readdir(EXAMPLES)).filter((name) => name.endsWith('.yaml') && !others.includes(name));
  expect(templates.filter((name) => !text.includes(`'${name}'`))).toEqual([]);
});
