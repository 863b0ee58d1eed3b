/** Pipelines and commands over a real S3 server. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import type { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { S3Port } from '../../src/io/s3/port.ts';
import { createStorage } from '../../src/io/storage/storage.ts';
import { clearWorkspace } from '../../src/io/workspace/workspace-gc.ts';
import type { PipelineInput, PipelineResult } from '../../src/pipeline/contract.ts';
import { ckpt } from '../support/cli.ts';
import { startFaultProxy, type FaultProxy, type Seen } from '../support/fault-proxy.ts';
import { noise } from '../support/memory-source.ts';
import { EXPECTED, fixture, PROJECT_ROOT } from '../support/project.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';
import { devServer, runPipeline, servicesOf } from '../support/temporal.ts';

let environment: TestWorkflowEnvironment;
let server: S3TestServer;
let proxy: FaultProxy;
let bucket: string;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-stores-'));
  server = await startS3Server();
  proxy = await startFaultProxy(server.endpoint);
  Object.assign(process.env, server.env, { AWS_ENDPOINT_URL_S3: proxy.url });
  bucket = await server.bucket();
  environment = await devServer();
}, S3_SETUP_TIMEOUT);
afterAll(async () => {
  await environment?.teardown();
  await proxy?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

async function upload(path: string, Key: string): Promise<string> {
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: await readFile(path) }));
  return `s3://${bucket}/${Key}`;
}

const execute = (input: PipelineInput, services = servicesOf(join(folder, 'workspace'))): Promise<PipelineResult> =>
  runPipeline(environment, input, services);

async function failureOf(run: Promise<unknown>): Promise<ApplicationFailure> {
  const error = await run.then(
    () => {
      throw new Error('the run should have failed');
    },
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(WorkflowFailedError);
  return (error as WorkflowFailedError).cause as ApplicationFailure;
}

const MIB = 2 ** 20;

/** Of two tensors of bytes. */
function safetensorsHead(size: number): Buffer {
  const tensor = (from: number) => ({ dtype: 'U8', shape: [size], data_offsets: [from, from + size] });
  const text = Buffer.from(JSON.stringify({ a: tensor(0), b: tensor(size) }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text]);
}

const LIGHTNING = 'good/lightning_trained.ckpt';
const sha256Of = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

test('from S3 to a local file, checked against its digest, with a reset on the way', async () => {
  const url = await upload(fixture(LIGHTNING), 'runs/last.ckpt');
  const uri = join(folder, 'from-s3.safetensors');
  proxy.inject((seen, index) => (seen.method === 'GET' && index % 3 === 0 ? { kind: 'reset', after: 1000 } : null));
  const result = await execute({
    stages: [
      { type: 'source.s3', url, expected_checksum: `sha256:${await sha256Of(fixture(LIGHTNING))}` },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri },
    ],
  }).finally(() => proxy.reset());
  expect(result.status).toBe('completed');
  expect(result.metadata).toMatchObject({ source_type: 's3', source_url: url });
  expect(result.outputs[0]).toMatchObject({ tensors: Object.keys(EXPECTED.good[LIGHTNING]!.tensors).length, sha256: await sha256Of(uri) });
});

test('another digest than expected publishes nothing', async () => {
  const url = await upload(fixture(LIGHTNING), 'runs/other.ckpt');
  const uri = join(folder, 'never.safetensors');
  const stages = [
    { type: 'source.s3', url, expected_checksum: 'ab'.repeat(32) },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri },
  ];
  const failure = await failureOf(execute({ stages }));
  expect(failure.type).toBe('CheckpointValidationError');
  expect(failure.details![0]).toMatchObject({ algorithm: 'sha256', expected: 'ab'.repeat(32), actual: await sha256Of(fixture(LIGHTNING)) });
  expect((await readdir(folder)).filter((name) => name.startsWith('never'))).toEqual([]);
});

test('before anything is moved: an object and a bucket that are not there are told together; who may not list may write', async () => {
  const stages = [
    { type: 'source.s3', url: `s3://${bucket}/runs/none.ckpt` },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: 's3://ckpt-no-such-bucket/out.safetensors' },
  ];
  const failure = await failureOf(execute({ stages }));
  expect(failure.details![0]).toMatchObject({
    problems: [
      { path: 'stages[0].url', code: 'CheckpointNotFoundError', message: expect.stringContaining('There is no object') },
      {
        path: 'stages[2].uri',
        code: 'CheckpointNotFoundError',
        message: expect.stringContaining('There is no bucket ckpt-no-such-bucket'),
      },
    ],
  });

  const url = await upload(fixture(LIGHTNING), 'runs/unlisted.ckpt');
  const own = await server.bucket();
  const refused: string[] = [];
  proxy.inject((seen) => {
    if (!seen.url.includes('list-type=2')) return null;
    refused.push(seen.url);
    return { kind: 'status', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' };
  });
  const publish = { type: 'sink.publish', uri: `s3://${own}/unlisted.safetensors` };
  const result = await execute({ stages: [{ type: 'source.s3', url }, { type: 'loader.weights_only' }, publish] }).finally(() =>
    proxy.reset(),
  );
  expect(result).toMatchObject({ status: 'completed', metadata: { validation_environment_status: 'ok' } });
  expect(refused).toEqual([expect.stringContaining(own)]);
});

test('a fenced worker refuses other buckets and folders', async () => {
  const storage = createStorage({ settings: { s3: [], http: {}, allow: { roots: [join(folder, 'allowed')], buckets: ['elsewhere'] } } });
  const services = servicesOf(join(folder, 'workspace'), storage);
  for (const source of [
    { type: 'source.s3', url: `s3://${bucket}/runs/last.ckpt` },
    { type: 'source.local', path: fixture(LIGHTNING) },
  ]) {
    const failure = await failureOf(execute({ stages: [source, { type: 'loader.weights_only' }] }, services));
    expect(failure.type).toBe('CheckpointConfigError');
    // Refused by the preflight: no stage was tried.
    expect(failure.details![0]).toMatchObject({ reason: 'outside_fence', attempts: 0 });
  }
  const roots = [fixture('good'), join(folder, 'allowed')];
  const reading = servicesOf(join(folder, 'workspace'), createStorage({ settings: { s3: [], http: {}, allow: { roots } } }));
  const stages = (uri: string) => [
    { type: 'source.local', path: fixture(LIGHTNING) },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri },
  ];
  const published = await failureOf(execute({ stages: stages(join(folder, 'allowed', '..', 'out.safetensors')) }, reading));
  expect(published.details![0]).toMatchObject({ reason: 'outside_fence' });
  const workspace = join(folder, 'my-workspace');
  const misled = await failureOf(execute({ stages: stages(join(folder, 'allowed', 'out.safetensors')), workspace }, reading));
  expect(misled.details![0]).toMatchObject({ reason: 'outside_fence' });
  expect((await readdir(folder)).filter((name) => /^(out|allowed|my-workspace)/.test(name))).toEqual([]);
});

test('from S3 to S3: published, then unchanged, then damaged and published again; verify reads it', async () => {
  const url = await upload(fixture(LIGHTNING), 'both/last.ckpt');
  const uri = `s3://${bucket}/both/out/weights.safetensors`;
  const input = { stages: [{ type: 'source.s3', url }, { type: 'loader.weights_only' }, { type: 'sink.publish', uri }] };
  const first = await execute(input);
  expect(first.status).toBe('completed');
  const object = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key: 'both/out/weights.safetensors' }));
  const bytes = await object.Body!.transformToByteArray();
  expect(first.outputs[0]).toMatchObject({ uri, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  proxy.reset();
  const second = await execute(input);
  expect(second.status).toBe('unchanged');
  expect(proxy.seen.filter(({ method }) => method === 'PUT')).toEqual([]);
  const env = { ...server.env, XDG_STATE_HOME: join(folder, 'state') };
  const verified = await ckpt(['verify', uri, '--manifest', '--json'], { cwd: folder, env }).ended;
  expect(verified).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(verified.stdout)).toMatchObject({ valid: true, manifest: 'compared' });
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'both/out/weights.safetensors', Body: 'damaged' }));
  expect((await execute(input)).status).toBe('completed');
  const listed = await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'both/out/' }));
  expect(listed.Contents?.map(({ Key }) => Key)).toEqual(['both/out/weights.safetensors', 'both/out/weights.safetensors.manifest.json']);
});

test('verify tells an object that was replaced after the store had copied it, where nothing was digested', async () => {
  const source = Buffer.concat([safetensorsHead(12 * MIB), noise(24 * MIB)]);
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'copied/source.safetensors', Body: source }));
  const stages = (uri: string, more: object = {}) => [
    { type: 'source.s3', url: `s3://${bucket}/copied/source.safetensors` },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri, ...more },
  ];
  const env = { ...server.env, XDG_STATE_HOME: join(folder, 'state') };
  const verify = async (uri: string) => {
    const { code, stdout } = await ckpt(['verify', uri, '--manifest', '--json'], { cwd: folder, env }).ended;
    return { code, report: JSON.parse(stdout) as { valid: boolean; findings: readonly { code: string; message: string }[] } };
  };
  const uri = `s3://${bucket}/copied/one/model.safetensors`;
  const shards = { shard_size: '12MiB' };
  const set = `s3://${bucket}/copied/set/model.safetensors`;
  expect((await execute({ stages: stages(uri) })).outputs[0]).toMatchObject({ copied_server_side: expect.any(Number) });
  const [sharded] = (await execute({ stages: stages(set, shards) })).outputs;
  expect(sharded).toMatchObject({ copied_server_side: expect.any(Number) });
  const names = await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'copied/set/model-0' }));
  for (const [what, object] of [
    [uri, uri],
    [sharded!.uri, `s3://${bucket}/${names.Contents![0]!.Key}`],
  ] as const) {
    expect(await verify(what)).toMatchObject({ code: 0, report: { valid: true } });
    const Key = object.slice(`s3://${bucket}/`.length);
    const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key }));
    const bytes = await Body!.transformToByteArray();
    bytes[bytes.length - 1]! ^= 1;
    await server.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: bytes }));
    const { code, report } = await verify(what);
    expect(code).toBe(1);
    expect(report).toMatchObject({ valid: false, findings: [{ code: 'identity' }] });
    expect(report.findings[0]!.message).toContain(`${object} is not the object that was published`);
  }
});

test('a store that copies no parts: all passes through, which the run says once for all shards', async () => {
  const source = Buffer.concat([safetensorsHead(12 * MIB), noise(24 * MIB)]);
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'uncopied/source.safetensors', Body: source }));
  proxy.inject(({ headers }) => (headers['x-amz-copy-source'] === undefined ? null : { kind: 'status', status: 501 }));
  const result = await execute({
    stages: [
      { type: 'source.s3', url: `s3://${bucket}/uncopied/source.safetensors` },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: `s3://${bucket}/uncopied/set/model.safetensors`, shard_size: '12MiB' },
    ],
  }).finally(() => proxy.reset());
  expect(result.outputs[0]).not.toHaveProperty('copied_server_side');
  expect(result.metadata['warnings']).toEqual([expect.stringContaining(`The store of s3://${bucket} copies no parts of objects`)]);
});

test('a workspace in a store serves a run; `gc` clears what is old and spares what an open run may need', async () => {
  const workspace = `s3://${bucket}/workspaces/one`;
  const uri = join(folder, 'by-store-workspace.safetensors');
  const stages = [{ type: 'source.local', path: fixture(LIGHTNING) }, { type: 'loader.weights_only' }, { type: 'sink.publish', uri }];
  const fenced = createStorage({ settings: { s3: [], http: {}, allow: { buckets: ['elsewhere'] } } });
  // The worker's own workspace needs no gap in the fence; one that an input names does.
  expect((await execute({ stages }, servicesOf(workspace, fenced))).status).toBe('completed');
  const misled = await failureOf(execute({ stages, workspace }, servicesOf(join(folder, 'workspace'), fenced)));
  expect(misled.details![0]).toMatchObject({ reason: 'outside_fence' });

  const storage = createStorage();
  const blobs = async (): Promise<number> =>
    (await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'workspaces/' }))).Contents?.length ?? 0;
  const all = await blobs();
  expect(all).toBeGreaterThanOrEqual(2);
  expect(await clearWorkspace(storage, workspace, Date.now() - 3600_000, false)).toEqual({ removed: 0, removed_bytes: 0, kept: all });
  expect(await clearWorkspace(storage, workspace, Date.now() + 60_000, true)).toMatchObject({ removed: all });
  expect(await blobs()).toBe(all);
  // A run that uses one again while it is cleared up, between the look at its page and its turn.
  await sleep(4000);
  const moment = Date.now() - 2500;
  let used = '';
  const busy = {
    ...storage,
    s3: async (place: string) => {
      const port = await storage.s3(place);
      return {
        ...port,
        list: async (...args: Parameters<S3Port['list']>) => {
          const page = await port.list(...args);
          if (used === '') {
            used = page.objects.at(-1)!.key;
            const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key: used }));
            await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: used, Body: await Body!.transformToByteArray() }));
          }
          return page;
        },
      };
    },
  };
  expect(await clearWorkspace(busy, workspace, moment, false)).toMatchObject({ removed: all - 1, kept: 1 });
  expect(await blobs()).toBe(1);
  expect(await clearWorkspace(storage, workspace, Date.now() + 60_000, false)).toMatchObject({ removed: 1, kept: 0 });
  expect(await blobs()).toBe(0);

  const local = join(folder, 'local-workspace');
  await execute({ stages: [...stages.slice(0, 2), { ...stages[2]!, uri: `${uri}.2` }] }, servicesOf(local));
  await writeFile(join(local, 'blobs', 'not-ours.json'), '{}');
  expect(await clearWorkspace(storage, local, Date.now() + 60_000, false)).toMatchObject({ removed: all, kept: 0 });
  expect((await readdir(join(local, 'blobs'), { recursive: true })).filter((name) => name.endsWith('.json'))).toEqual(['not-ours.json']);

  const { address } = environment.connection.options as { readonly address: string };
  const env = { ...server.env, XDG_STATE_HOME: join(folder, 'state'), CKPT_WORKSPACE: workspace, TEMPORAL_ADDRESS: address };
  const { code, stdout, stderr } = await ckpt(['gc', '--older-than', '7', '--json'], { cwd: folder, env }).ended;
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ workspace, removed: 0, dry_run: false });
});

test('a run whose output another one replaces while its manifest is on its way fails, and takes its own manifest back', async () => {
  const stages = (url: string, name: string) => [
    { type: 'source.s3', url },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: `s3://${bucket}/race/${name}` },
  ];
  const url = await upload(fixture(LIGHTNING), 'race/last.ckpt');
  const other = await upload(fixture('good/plain.safetensors'), 'race/other.safetensors');
  const failed = async (name: string, isMeanwhile: (seen: Seen) => boolean) => {
    let theirs: Promise<PipelineResult> | undefined;
    proxy.hold((seen) => {
      if (theirs !== undefined || !seen.url.includes(name) || !isMeanwhile(seen)) return null;
      return (theirs = execute({ stages: stages(other, name) }));
    });
    const failure = await failureOf(execute({ stages: stages(url, name) })).finally(() => proxy.reset());
    expect(failure.details![0]).toMatchObject({ reason: 'concurrent_write', expected: expect.any(String), got: expect.any(String) });
    expect(failure.message).toContain('Another run or program has replaced');
    return theirs!;
  };
  const digest = async (Key: string) => {
    const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key }));
    return createHash('sha256')
      .update(await Body!.transformToByteArray())
      .digest('hex');
  };
  const keys = async (name: string) =>
    (await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `race/${name}` }))).Contents?.map(({ Key }) => Key);

  // Its manifest comes after all of theirs.
  const late = await failed('late.safetensors', ({ method, url: at }) => method === 'PUT' && at.includes('manifest.json'));
  expect(await digest('race/late.safetensors')).toBe(late.outputs[0]!.sha256);
  expect(await keys('late')).toEqual(['race/late.safetensors']);

  // Before its manifest is written at all: theirs stays.
  let isThere = false;
  const early = await failed('early.safetensors', ({ method, url: at }) => {
    const isHead = method === 'HEAD' && !at.includes('manifest.json');
    if (method === 'PUT' && !at.includes('manifest.json')) isThere = true;
    return isHead && isThere;
  });
  expect(await digest('race/early.safetensors')).toBe(early.outputs[0]!.sha256);
  expect(await keys('early')).toEqual(['race/early.safetensors', 'race/early.safetensors.manifest.json']);
});

describe('two runs that publish shards of the same names at the same time', () => {
  const SIZE = 64;
  type Sink = { readonly overwrite: 'never' | 'if_changed' | 'always' };
  const stagesOf = (source: string, name: string, sink: Sink) => [
    { type: 'source.s3', url: `s3://${bucket}/mixed/${source}.safetensors` },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: `s3://${bucket}/mixed/${name}/model.safetensors`, shard_size: SIZE, ...sink },
  ];
  beforeAll(async () => {
    for (const [source, byte] of [
      ['one', 1],
      ['other', 2],
    ] as const)
      await server.client.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: `mixed/${source}.safetensors`,
          Body: Buffer.concat([safetensorsHead(SIZE), Buffer.alloc(2 * SIZE, byte)]),
        }),
      );
  });
  /** `other` runs from end to end when `one` is about to send what `name` says. */
  async function race(folderName: string, name: string, sink: Sink) {
    let other: Promise<PipelineResult> | undefined;
    proxy.hold((seen) => {
      if (other !== undefined || seen.method !== 'PUT' || !seen.url.includes(`${folderName}/model${name}`)) return null;
      return (other = execute({ stages: stagesOf('other', folderName, sink) }));
    });
    const [one] = await Promise.allSettled([execute({ stages: stagesOf('one', folderName, sink) })]);
    proxy.reset();
    const listed = await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `mixed/${folderName}/` }));
    const keys = listed.Contents?.map(({ Key }) => Key!.slice(`mixed/${folderName}/model`.length)) ?? [];
    const failure = one.status === 'fulfilled' ? null : ((one.reason as WorkflowFailedError).cause as ApplicationFailure);
    return { one: failure === null ? 'completed' : (failure.details![0] as { reason: string }).reason, other: other!, keys };
  }
  const SHARDS = ['-00001-of-00002.safetensors', '-00002-of-00002.safetensors'];
  const INDEX = '.safetensors.index.json';
  const WHOLE = [...SHARDS, INDEX, `${INDEX}.manifest.json`];

  test.each<[string, string, Sink['overwrite'], readonly string[]]>([
    ['a shard on condition: the other set is whole', SHARDS[1]!, 'if_changed', WHOLE],
    ['a shard without: it goes again', SHARDS[1]!, 'always', WHOLE.filter((name) => name !== SHARDS[1])],
    ['the index: it goes again, as its shards are the other ones', INDEX, 'if_changed', SHARDS],
    ['the manifest: it goes again', `${INDEX}.manifest.json`, 'if_changed', [...SHARDS, INDEX]],
  ])('%s', async (what, name, overwrite, left) => {
    const { one, other, keys } = await race(what.replace(/\W/g, ''), name, { overwrite });
    expect(one).toBe('concurrent_write');
    expect((await other).status).toBe('completed');
    expect(keys).toEqual(left);
  });

  test('never: who comes second refuses, and the first set is whole', async () => {
    const { one, other, keys } = await race('never', SHARDS[1]!, { overwrite: 'never' });
    expect((await failureOf(other)).details![0]).toMatchObject({ reason: 'exists' });
    expect(one).toBe('completed');
    expect(keys).toEqual(WHOLE);
  });
});

test('a sharded run that fails leaves an older set of other files in the store as it was', async () => {
  await server.client.send(
    new PutObjectCommand({ Bucket: bucket, Key: 'older/source.safetensors', Body: Buffer.concat([safetensorsHead(64), noise(128)]) }),
  );
  const stages = (loader: object) => [
    { type: 'source.s3', url: `s3://${bucket}/older/source.safetensors` },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: `s3://${bucket}/older/set/model.safetensors`, ...loader },
  ];
  const keys = async () =>
    (await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'older/set/' }))).Contents?.map(({ Key }) => Key);
  const whole = { stages: stages({ shard_size: 64 }) };
  await execute(whole);
  const before = await keys();
  expect(before).toHaveLength(4);
  await upload(fixture(LIGHTNING), 'older/last.ckpt');
  const other = { stages: [{ type: 'source.s3', url: `s3://${bucket}/older/last.ckpt` }, ...stages({ shard_size: 100 }).slice(1)] };
  const sent: string[] = [];
  proxy.inject(({ method, url }) => {
    if (method === 'PUT') sent.push(url);
    return method === 'PUT' && url.includes('-00002-of-00004')
      ? { kind: 'status', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' }
      : null;
  });
  await failureOf(execute(other)).finally(() => proxy.reset());
  expect(sent).toContainEqual(expect.stringContaining('-00001-of-00004'));
  expect(await keys()).toEqual(before);
  expect((await execute(whole)).status).toBe('unchanged');
  const replaced = await execute(other);
  expect(replaced).toMatchObject({ status: 'completed', outputs: [{ uri: expect.stringContaining('index.json') }] });
  expect((await execute(other)).status).toBe('unchanged');
});

test('shards in a store, read back by their prefix', async () => {
  const uri = `s3://${bucket}/shards out/model.safetensors`;
  const stages = [
    { type: 'source.local', path: fixture(LIGHTNING) },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri, shard_size: 100 },
  ];
  const result = await execute({ stages });
  expect(result.status).toBe('completed');
  expect((await execute({ stages })).status).toBe('unchanged');
  const env = { ...server.env, XDG_STATE_HOME: join(folder, 'state') };
  const { code, stdout, stderr } = await ckpt(['inspect', `s3://${bucket}/shards out/`, '--json'], { cwd: folder, env }).ended;
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as { tensors: unknown[] }).tensors).toHaveLength(Object.keys(EXPECTED.good[LIGHTNING]!.tensors).length);
});

test('a set of shards is never published over itself, and its index stays', async () => {
  const own = join(folder, 'own-set');
  await mkdir(own);
  const sinks = [own, `s3://${bucket}/own set`].map((set) => ({
    type: 'sink.publish',
    uri: `${set}/model.safetensors`,
    shard_size: 100,
    overwrite: 'always',
  }));
  const sources = [
    { type: 'source.local', path: own },
    { type: 'source.s3', url: `s3://${bucket}/own set/` },
  ];
  const names = async () => {
    const { Contents } = await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'own set/' }));
    return [...(await readdir(own)), ...Contents!.map(({ Key }) => Key)];
  };
  for (const sink of sinks)
    await execute({ stages: [{ type: 'source.local', path: fixture(LIGHTNING) }, { type: 'loader.weights_only' }, sink] });
  const before = await names();
  expect(before).toContain('own set/model.safetensors.index.json');
  for (const [index, source] of sources.entries()) {
    const failure = await failureOf(execute({ stages: [source, { type: 'loader.weights_only' }, sinks[index]!] }));
    expect(failure.type).toBe('CheckpointConfigError');
    expect(failure.message).toContain('is the source itself');
  }
  expect(await names()).toEqual(before);
});

test('one URI serves every command: scan, diff, convert, a target and a distributed checkpoint under a prefix', async () => {
  const url = await upload(fixture(LIGHTNING), 'every/last one+1.ckpt');
  const env = { ...server.env, AWS_ENDPOINT_URL_S3: proxy.url, XDG_STATE_HOME: join(folder, 'state') };
  const json = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await ckpt([...args, '--json'], { cwd: folder, env }).ended;
    return { code, stderr, report: JSON.parse(stdout) as Record<string, unknown> };
  };
  expect(await json('scan', url)).toMatchObject({ code: 0 });
  const out = `s3://${bucket}/every/out.safetensors`;
  expect(await json('convert', url, out)).toMatchObject({ code: 0, report: { status: 'completed' } });
  expect(await json('diff', out, out, '--values')).toMatchObject({ code: 0 });
  const targeted = await execute({
    stages: [
      { type: 'source.s3', url },
      { type: 'loader.transfer_learning', target: out },
      { type: 'sink.publish', uri: join(folder, 'targeted.safetensors') },
    ],
  });
  expect(targeted.status).toBe('completed');
  const distributed = join(PROJECT_ROOT, 'test', 'fixtures', 'readers', 'sharded');
  for (const file of await readdir(distributed)) await upload(join(distributed, file), `distributed/${file}`);
  const [near, far] = [await json('inspect', distributed), await json('inspect', `s3://${bucket}/distributed/`)];
  expect(far.code).toBe(0);
  expect(far.report['tensors']).toEqual(near.report['tensors']);
});

test('a scan takes every checkpoint below a prefix, at any depth; a checkpoint is one, and is asked for by name', async () => {
  await upload(fixture(LIGHTNING), 'below/1/last.ckpt');
  await upload(fixture('unsafe/call_os_system.pt'), 'below/team/4/last.ckpt');
  await upload(join(PROJECT_ROOT, 'README.md'), 'below/README.md');
  const shards = join(PROJECT_ROOT, 'test', 'fixtures', 'readers', 'sharded');
  for (const file of await readdir(shards)) await upload(join(shards, file), `below/shards/${file}`);
  const env = { ...server.env, AWS_ENDPOINT_URL_S3: proxy.url, XDG_STATE_HOME: join(folder, 'state') };
  const prefix = `s3://${bucket}/below/`;
  const scan = await ckpt(['scan', prefix, '--json'], { cwd: folder, env }).ended;
  const { files } = JSON.parse(scan.stdout) as { files: readonly { readonly uri: string; readonly verdict: string }[] };
  expect(scan).toMatchObject({ code: 1, stderr: expect.stringContaining('1 file no checkpoint, left out: README.md') });
  expect(files.find(({ uri }) => uri === `${prefix}1/last.ckpt`)?.verdict).toBe('safe');
  expect(files.find(({ uri }) => uri === `${prefix}team/4/last.ckpt`)?.verdict).toBe('dangerous');
  expect(files.filter(({ uri }) => uri.startsWith(`${prefix}shards/`)).length).toBeGreaterThan(1);
  expect(new Set(files.map(({ uri }) => uri)).size).toBe(files.length);

  const inspect = await ckpt(['inspect', `s3://${bucket}/below/team/`], { cwd: folder, env }).ended;
  expect(inspect).toMatchObject({ code: 1, stderr: expect.stringContaining(`${prefix}team/4/last.ckpt, for example, lies below it`) });
  const nothing = await ckpt(['scan', `s3://${bucket}/nothing/`], { cwd: folder, env }).ended;
  expect(nothing).toMatchObject({ code: 1, stdout: expect.stringContaining(`There is nothing under s3://${bucket}/nothing/`) });
});

test('a run whose worker is killed in the middle of publishing goes on with its upload, and sends no part twice', async () => {
  const parts = 6;
  const tensor = noise(parts * 8 * MIB);
  const header = Buffer.from(JSON.stringify({ t: { dtype: 'U8', shape: [tensor.length], data_offsets: [0, tensor.length] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const path = join(folder, 'large.safetensors');
  await writeFile(path, Buffer.concat([length, header, tensor]));
  const uri = `s3://${bucket}/killed/large.safetensors`;
  const file = join(folder, 'killed.json');
  const stages = [{ type: 'source.local', path }, { type: 'loader.weights_only' }, { type: 'sink.publish', uri }];
  await writeFile(file, JSON.stringify({ name: 'killed', stages }));
  const { address } = environment.connection.options as { readonly address: string };
  const env = {
    ...server.env,
    AWS_ENDPOINT_URL_S3: proxy.url,
    XDG_STATE_HOME: join(folder, 'state'),
    CKPT_WORKSPACE: join(folder, 'killed-workspace'),
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: environment.namespace ?? 'default',
  };
  proxy.reset();
  // The fourth part never gets through to the first worker.
  proxy.inject((seen) => (seen.url.includes('partNumber=4') ? { kind: 'stall' } : null));
  const partsSent = (): readonly string[] =>
    proxy.seen.flatMap(({ method, url }) => (method === 'PUT' ? (/partNumber=(\d+)/.exec(url)?.slice(1) ?? []) : []));
  const first = ckpt(['worker'], { cwd: folder, env });
  const started = await ckpt(['run', file, '--detach', '--json'], { cwd: folder, env }).ended;
  expect(started.code).toBe(0);
  while (new Set(partsSent()).size < parts) await new Promise((resolve) => setTimeout(resolve, 50));
  // Until the store has acknowledged all others.
  const { Uploads } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: 'killed/' }));
  const upload = { Bucket: bucket, Key: 'killed/large.safetensors', UploadId: Uploads![0]!.UploadId };
  while (((await server.client.send(new ListPartsCommand(upload))).Parts?.length ?? 0) < parts)
    await new Promise((resolve) => setTimeout(resolve, 50));
  first.process.kill('SIGKILL');
  await first.ended;
  const before = partsSent().length;
  proxy.inject(() => null);
  const second = ckpt(['worker'], { cwd: folder, env });
  const { workflow_id: id } = JSON.parse(started.stdout) as { workflow_id: string };
  const result = (await environment.client.workflow.getHandle(id).result()) as PipelineResult;
  second.process.kill('SIGTERM');
  await second.ended;
  expect(result.status).toBe('completed');
  expect(partsSent().slice(before)).toEqual(['4']);
  const object = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key: 'killed/large.safetensors' }));
  const bytes = await object.Body!.transformToByteArray();
  expect(Buffer.compare(bytes.subarray(bytes.length - tensor.length), tensor)).toBe(0);
  expect(result.outputs[0]!.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  const open = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  expect(open.Uploads ?? []).toEqual([]);
}, 180_000);

test('from a web server without ranges, by way of the cache; private networks are shut unless they are opened', async () => {
  const bytes = await readFile(fixture(LIGHTNING));
  const web = createServer((_, response) => response.writeHead(200).end(bytes));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/last.ckpt`;
    const uri = join(folder, 'from-web.safetensors');
    const stages = [{ type: 'source.http', url }, { type: 'loader.weights_only' }, { type: 'sink.publish', uri }];
    const shut = createStorage({ settings: { s3: [], http: {}, allow: { private_addresses: false } } });
    const failure = await failureOf(execute({ stages }, servicesOf(join(folder, 'workspace'), shut)));
    expect(failure.details![0]).toMatchObject({ reason: 'outside_fence', attempts: 1 });
    const opened = createStorage({ cacheFolder: join(folder, 'http') });
    const result = await execute({ stages }, servicesOf(join(folder, 'workspace'), opened));
    expect(result.status).toBe('completed');
    expect(result.outputs[0]).toMatchObject({ sha256: await sha256Of(uri) });
    expect(await readdir(join(folder, 'http'))).toEqual([await sha256Of(fixture(LIGHTNING))]);
    // A local source judged by a target from there: nothing of the web is proven unchanged, which is no fault of the output.
    const judged = [
      { type: 'source.local', path: fixture(LIGHTNING) },
      { type: 'loader.weights_only', target: url, strict: true },
    ];
    const other = join(folder, 'judged.safetensors');
    const fitting = await execute(
      { stages: [...judged, { type: 'sink.publish', uri: other }] },
      servicesOf(join(folder, 'workspace'), opened),
    );
    expect(fitting.status).toBe('completed');
    expect(await sha256Of(other)).toBe(await sha256Of(uri));
    expect(JSON.parse(await readFile(`${other}.manifest.json`, 'utf8'))).not.toHaveProperty('recipe');
  } finally {
    web.closeAllConnections();
    await new Promise((resolve) => web.close(resolve));
  }
});

test('the timeout of a download is for stalls: a slow one is given its time, one that stands still is not', async () => {
  const header = Buffer.from(JSON.stringify({ weight: { dtype: 'F32', shape: [10_000], data_offsets: [0, 40_000] } }));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  const bytes = Buffer.concat([size, header, Buffer.alloc(40_000)]);
  const web = createServer(async (request, response) => {
    response.writeHead(200, { 'content-length': bytes.length });
    for (let at = 0; at < bytes.length; at += 10_000) {
      response.write(bytes.subarray(at, at + 10_000));
      // Never the rest.
      if (request.url === '/stalls.safetensors') return;
      await sleep(500);
    }
    response.end();
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  try {
    const origin = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    const services = servicesOf(join(folder, 'workspace'), createStorage({ cacheFolder: join(folder, 'http') }));
    const stages = (url: string) => [
      { type: 'source.http', url, timeout: 1.5, max_retries: 2, retry: { initial_interval: 0.01 } },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: join(folder, 'slowly.safetensors') },
    ];
    expect((await execute({ stages: stages(`${origin}/slow.safetensors`) }, services)).status).toBe('completed');
    const url = `${origin}/stalls.safetensors`;
    const failure = await failureOf(execute({ stages: stages(url) }, services));
    expect(failure).toMatchObject({ type: 'CheckpointTimeoutError', message: expect.stringContaining(`Reading ${url} stalled`) });
    expect(failure.details![0]).toMatchObject({ url, timeout_seconds: 1.5, attempts: 2 });
  } finally {
    web.closeAllConnections();
    await new Promise((resolve) => web.close(resolve));
  }
});

test('inspect reads an object by its header: at most 4 requests and 1 MiB', async () => {
  const url = await upload(fixture(LIGHTNING), 'runs/inspected.ckpt');
  proxy.reset();
  const env = { ...server.env, AWS_ENDPOINT_URL_S3: proxy.url, XDG_STATE_HOME: join(folder, 'state') };
  const { code, stdout, stderr } = await ckpt(['inspect', url, '--json'], { cwd: folder, env }).ended;
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as { uri: string; tensors: unknown[]; requests: { bytes: number } };
  expect(report).toMatchObject({ uri: url, requests: { count: proxy.seen.length - 1 } });
  expect(report.tensors).toHaveLength(Object.keys(EXPECTED.good[LIGHTNING]!.tensors).length);
  expect(proxy.seen.length).toBeLessThanOrEqual(4);
  expect(report.requests.bytes).toBeLessThanOrEqual(2 ** 20);
});

test.each(['sharded/', ''])('a prefix stands for the sharded checkpoint under it: %j', async (prefix) => {
  const name = Object.keys(EXPECTED.good).find((path) => path.endsWith('.index.json'))!;
  const source = fixture(name).replace(/[^/]*$/, '');
  const own = await server.bucket();
  for (const file of await readdir(source))
    await server.client.send(new PutObjectCommand({ Bucket: own, Key: `${prefix}${file}`, Body: await readFile(join(source, file)) }));
  const env = { ...server.env, XDG_STATE_HOME: join(folder, 'state') };
  const { code, stdout, stderr } = await ckpt(['inspect', `s3://${own}/${prefix}`, '--json'], { cwd: folder, env }).ended;
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as { tensors: unknown[] };
  expect(report.tensors).toHaveLength(Object.keys(EXPECTED.good[name]!.tensors).length);
  const stages = [
    { type: 'source.s3', url: `s3://${own}/${prefix}` },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: join(folder, 'whole.safetensors') },
  ];
  expect(await execute({ stages })).toMatchObject({ status: 'completed', outputs: [{ uri: expect.stringContaining('whole') }] });
});
