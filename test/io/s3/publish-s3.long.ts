import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { CheckpointLoadError, type CheckpointError } from '../../../src/errors.ts';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import { partMemory } from '../../../src/io/part-memory.ts';
import { RETRY, type RetryPolicy } from '../../../src/io/retry.ts';
import { connectS3 } from '../../../src/io/s3/aws/connect.ts';
import type { S3Port } from '../../../src/io/s3/port.ts';
import { publishS3, type S3PublishOptions } from '../../../src/io/s3/publish-s3.ts';
import { openPinnedS3, openS3 } from '../../../src/io/s3/source.ts';
import { discardS3 } from '../../../src/io/s3/upload.ts';
import { pin, type ByteSource } from '../../../src/model/byte-source.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { startFaultProxy, type Fault, type FaultProxy, type Seen } from '../../support/fault-proxy.ts';
import { noise } from '../../support/memory-source.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../../support/s3-server.ts';
import { zip } from '../../support/zip.ts';

const MIB = 2 ** 20;
const QUICK: RetryPolicy = { ...RETRY, tries: 3, pauseMs: 5, stallMs: 5000 };
/** A part that stalls has some seconds; on a busy machine, others need nearly as long. */
const IMPATIENT: RetryPolicy = { ...QUICK, stallMs: 4000, leastRate: 32 * MIB };
const against = ({ kind }: Fault): RetryPolicy => (kind === 'stall' ? IMPATIENT : QUICK);
/** Tensors of the source, with gaps between them as an archive has. */
const SIZES = [21 * MIB, 100, 0, 19 * MIB, 7 * MIB + 3, 12];
const CONTENT = noise(60 * MIB);

let server: S3TestServer;
let proxy: FaultProxy;
let port: S3Port;
let bucket: string;
let plan: Plan;
let expected: Buffer;

beforeAll(async () => {
  server = await startS3Server();
  Object.assign(process.env, server.env);
  proxy = await startFaultProxy(server.endpoint);
  port = await connectS3({ buckets: ['*'], endpoint: proxy.url });
}, S3_SETUP_TIMEOUT);
beforeEach(async () => {
  bucket = await server.bucket();
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'source.bin', Body: CONTENT }));
  plan = planOf(await openS3(port, `s3://${bucket}/source.bin`, QUICK), SIZES);
  const layout = layoutSafetensors(plan);
  const pieces = layout.segments.map((segment) => {
    if (segment.kind === 'bytes') return segment.bytes;
    const { origin } = layout.tensors[segment.kind === 'tensor' ? segment.index : 0]!;
    const { location } = plan.storages[origin.storage]!;
    const from = location.kind === 'range' ? location.offset : 0;
    return CONTENT.subarray(from, from + segment.length);
  });
  expected = Buffer.concat(pieces);
  proxy.reset();
});
afterEach(() => proxy?.reset());
afterAll(async () => {
  port?.close();
  await proxy?.close();
  await server?.close();
});

function planOf(file: ByteSource, sizes: readonly number[]): Plan {
  let offset = 0;
  const storages = sizes.map((length) => {
    const location = { kind: 'range' as const, offset };
    offset += length + 64;
    return { file: 0, location, length };
  });
  return {
    files: [pin(file)],
    storages,
    tensors: sizes.map((size, storage) => ({
      // In this order in the output, too.
      name: `t${String(storage).padStart(2, '0')}`,
      dtype: 'U8',
      shape: [size],
      origin: { dtype: 'U8', shape: [size], storage, offset: 0 },
    })),
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
}

function options(more: Partial<S3PublishOptions> = {}): S3PublishOptions {
  return {
    port,
    policy: QUICK,
    memory: partMemory(64 * MIB),
    uri: `s3://${bucket}/out/model.safetensors`,
    layout: layoutSafetensors(more.plan ?? plan),
    plan,
    open: async (file) => openPinnedS3(port, file, QUICK),
    token: 'token',
    content: 'cafe'.repeat(16),
    overwrite: 'if_changed',
    isNear: null,
    onProgress: () => undefined,
    signal: new AbortController().signal,
    // On a busy machine what a cancelled one cleans up takes longer than anybody waits for it.
    cleanupMs: 60_000,
    ...more,
  };
}

async function bytesOf(Key = 'out/model.safetensors'): Promise<Buffer> {
  const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key }));
  return Buffer.from(await Body!.transformToByteArray());
}

async function left(): Promise<{ readonly keys: readonly string[]; readonly uploads: number }> {
  const objects = await server.client.send(new ListObjectsV2Command({ Bucket: bucket }));
  const uploads = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  return { keys: (objects.Contents ?? []).map(({ Key }) => Key!), uploads: uploads.Uploads?.length ?? 0 };
}

const isPart = ({ method, url }: Seen): boolean => method === 'PUT' && url.includes('partNumber');
const sent = (): number => proxy.seen.filter(isPart).length;

async function errorOf(work: Promise<unknown>): Promise<CheckpointError> {
  return work.then(
    () => {
      throw new Error('it should have failed');
    },
    (error: CheckpointError) => error,
  );
}

test('publishes share their memory in turn; one that is cancelled while it waits leaves the others all of it', async () => {
  const own = planOf(await openS3(port, `s3://${bucket}/source.bin`, QUICK), [17 * MIB]);
  const memory = partMemory(20 * MIB);
  const abort = new AbortController();
  const publish = (name: string, signal: AbortSignal) =>
    publishS3(options({ plan: own, memory, signal, token: name, uri: `s3://${bucket}/out/${name}` }));
  const others = ['a', 'b', 'c'].map((name) => publish(name, new AbortController().signal));
  const cancelled = publish('d', abort.signal);
  cancelled.catch(() => undefined);
  while (sent() === 0) await sleep(5);
  abort.abort(new Error('cancelled'));
  await expect(cancelled).rejects.toThrow('cancelled');
  expect(new Set((await Promise.all(others)).map(({ sha256 }) => sha256)).size).toBe(1);
  expect(await left()).toEqual({ keys: ['out/a', 'out/b', 'out/c', 'source.bin'], uploads: 0 });
  (await memory.take(20 * MIB, new AbortController().signal)).release();
});

const DONE = ['out/model.safetensors', 'source.bin'];

test('a multipart upload gives the bytes and their digests, and leaves nothing else', async () => {
  const progress: number[] = [];
  const published = await publishS3(options({ onProgress: ({ offset }) => progress.push(offset) }));
  expect(published).toMatchObject({ size: expected.length, copied: 0, kept: 0 });
  expect(published.sha256).toBe(createHash('sha256').update(expected).digest('hex'));
  expect(published.tensors.length).toBe(SIZES.length);
  expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
  const parts = proxy.seen.filter(isPart);
  expect(parts).toHaveLength(6);
  // What is not sent at once has a connection of its own each time.
  expect(parts.filter(({ headers }) => headers.expect !== undefined)).toEqual([]);
  expect(progress.at(-1)).toBe(expected.length);
  expect(await left()).toEqual({ keys: DONE, uploads: 0 });
});

test('bytes are read while the upload is begun', async () => {
  let begin = (): void => undefined;
  const reading = new Promise<void>((resolve) => (begin = resolve));
  const watched: S3Port = {
    ...port,
    get: (object, ...more) => {
      if (object.key === 'source.bin') begin();
      return port.get(object, ...more);
    },
    createUpload: async (...all) => {
      await reading;
      return port.createUpload(...all);
    },
  };
  await publishS3(options({ port: watched, open: async (file) => openPinnedS3(watched, file, QUICK) }));
  expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
  expect(await left()).toEqual({ keys: DONE, uploads: 0 });
});

test('a source that fails while the upload is begun: nothing is left of it', async () => {
  let fail = (): void => undefined;
  const failing = new Promise<never>((_, reject) => (fail = () => reject(new CheckpointLoadError('no source', 'source.bin'))));
  failing.catch(() => undefined);
  const late: S3Port = {
    ...port,
    createUpload: async (...all) => {
      fail();
      await sleep(100);
      return port.createUpload(...all);
    },
  };
  const error = await errorOf(publishS3(options({ port: late, open: () => failing })));
  expect(error.message).toBe('no source');
  expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
});

test('a small output is one request', async () => {
  const small = planOf(await openS3(port, `s3://${bucket}/source.bin`, QUICK), [1000, 10]);
  proxy.reset();
  const published = await publishS3(options({ plan: small }));
  expect((await bytesOf()).length).toBe(published.size);
  expect(proxy.seen.filter(({ method }) => method === 'PUT')).toHaveLength(1);
  expect(await left()).toEqual({ keys: DONE, uploads: 0 });
});

test.each(['a b/épée+1%20.safetensors', 'x?y#z&w=1/日本.safetensors'])('to and from keys with every kind of character: %j', async (key) => {
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: `from/${key}`, Body: noise(60 * MIB, 3) }));
  const odd = planOf(await openS3(port, `s3://${bucket}/from/${key}`, QUICK), SIZES);
  const uri = `s3://${bucket}/to/${key}`;
  await publishS3(options({ plan: odd, uri }));
  const sentBytes = await bytesOf(`to/${key}`);
  expect((await publishS3(options({ plan: odd, uri, overwrite: 'always', token: 'other', isNear: () => true }))).copied).toBeGreaterThan(0);
  expect(Buffer.compare(await bytesOf(`to/${key}`), sentBytes)).toBe(0);
  expect((await left()).uploads).toBe(0);
});

test('in a bucket with versions the output has one that is read back, and older ones stay', async () => {
  const versioned = await server.bucket({ versioned: true });
  const uri = `s3://${versioned}/model.safetensors`;
  await publishS3(options({ uri }));
  const first = await openS3(port, uri, QUICK);
  const small = planOf(await openS3(port, `s3://${bucket}/source.bin`, QUICK), [1000]);
  await publishS3(options({ uri, plan: small, token: 'other' }));
  expect(await first.read(0, 100)).toEqual(new Uint8Array(expected.subarray(0, 100)));
  expect((await openS3(port, uri, QUICK)).size).toBeLessThan(2000);
});

describe('server-side copy', () => {
  const isNear = (): boolean => true;

  test('the store copies the large tensors; what is between them is sent', async () => {
    const published = await publishS3(options({ isNear }));
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(published).toMatchObject({ size: expected.length, sha256: null });
    expect(published.copied).toBeGreaterThan(0.7 * expected.length);
    const fetched = proxy.seen.filter(({ headers }) => headers['x-amz-copy-source'] !== undefined);
    expect(fetched.length).toBeGreaterThanOrEqual(3);
    expect(fetched.every(({ headers }) => headers['x-amz-copy-source-if-match'] === plan.files[0]!.identity)).toBe(true);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test('a source that changed is never copied from', async () => {
    await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'source.bin', Body: noise(60 * MIB, 2) }));
    const error = await errorOf(publishS3(options({ isNear })));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false });
    expect(error.message).toContain('changed since it was pinned');
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  const isCopy = ({ headers }: Seen): boolean => headers['x-amz-copy-source'] !== undefined;
  const refused = (status: number, code: string): Fault => ({
    kind: 'status',
    status,
    body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>No.</Message></Error>`,
  });

  test('by a store that copies no parts, all is sent, and it is said', async () => {
    proxy.inject((seen) => (isCopy(seen) ? refused(501, 'NotImplemented') : null));
    const published = await publishS3(options({ isNear }));
    expect(published).toMatchObject({ copied: 0, sha256: createHash('sha256').update(expected).digest('hex') });
    expect(published.warnings).toEqual([expect.stringContaining(`The store of s3://${bucket} copies no parts`)]);
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test('who may not copy is told of both permissions that it takes, whatever the status says', async () => {
    for (const status of [403, 200]) {
      proxy.reset();
      proxy.inject((seen) => (isCopy(seen) ? refused(status, 'AccessDenied') : null));
      const error = await errorOf(publishS3(options({ isNear })));
      expect(error).toMatchObject({ retryable: false, details: { status: 403, code: 'AccessDenied', attempts: 1 } });
      expect(error.message).toContain('s3:PutObject on this key, and s3:GetObject on the one that is copied');
      proxy.reset();
      expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
    }
  });

  test('a store that does not heed the condition is found out', async () => {
    // The fault proxy stands for the change: the last look at the source sees another tag.
    proxy.inject((seen) =>
      seen.method === 'HEAD' && seen.url.includes('source.bin') ? { kind: 'headers', set: { etag: '"other"' } } : null,
    );
    expect((await errorOf(publishS3(options({ isNear })))).message).toContain('changed since it was pinned');
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });
});

describe('server-side copy out of an archive', () => {
  /** The first is sent with the header before it; more than are copied at a time are left. */
  const NAMES = Array.from({ length: 19 }, (_, index) => `a/data/${String(index).padStart(2, '0')}`);
  const data = (index: number): Uint8Array => CONTENT.subarray(index * MIB, index * MIB + 6 * MIB);
  const isNear = (): boolean => true;
  let archive: Plan;
  let bytes: Buffer;
  /** Of local headers, by name. */
  let headers: ReadonlyMap<string, number>;

  /** Puts an archive into the bucket, in which the local header of one member may lie. */
  async function put(lie?: { readonly index: number; readonly size: number }): Promise<void> {
    const file = zip(NAMES.map((name, index) => ({ name, data: data(index), ...(index === lie?.index ? { local: lie } : {}) })));
    await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'source.bin', Body: file }));
    const source = await openS3(port, `s3://${bucket}/source.bin`, QUICK);
    const { members } = await readArchive(source);
    headers = new Map(members.map(({ name, header }) => [name, header]));
    archive = {
      ...planOf(
        source,
        members.map(({ size }) => size),
      ),
      storages: members.map((location) => ({ file: 0, location, length: location.size })),
    };
    const start = layoutSafetensors(archive).segments[0]!;
    bytes = Buffer.concat([start.kind === 'bytes' ? start.bytes : Buffer.alloc(0), ...NAMES.map((_, index) => data(index))]);
    proxy.reset();
  }

  const copies = (): readonly Seen[] => proxy.seen.filter(({ headers: { 'x-amz-copy-source': from } }) => from !== undefined);
  /** How often a member's own header was asked for. */
  const lookUps = (index: number): number =>
    proxy.seen.filter(({ method, headers: { range } }) => method === 'GET' && range?.startsWith(`bytes=${headers.get(NAMES[index]!)}-`))
      .length;
  const publish = (more: Partial<S3PublishOptions> = {}) => publishS3(options({ plan: archive, isNear, ...more }));
  /** Of each time that the upload is aborted: how many copies the store is still at, any of which would open it again. */
  function atAbort(onCopy: () => void = () => undefined): readonly number[] {
    const unanswered: number[] = [];
    proxy.inject((seen) => {
      if (seen.headers['x-amz-copy-source'] !== undefined) onCopy();
      if (seen.method === 'DELETE' && seen.url.includes('uploadId=')) unanswered.push(copies().filter(({ answered }) => !answered).length);
      return null;
    });
    return unanswered;
  }
  /** Never while the store is at a copy; again only where the store refused it or never answered, or a look found the upload there still. */
  function expectAborts(unanswered: readonly number[]): void {
    expect(unanswered[0]).toBe(0);
    expect(unanswered).toEqual(unanswered.map(() => 0));
    const own = proxy.seen.filter(({ url }) => url.includes('uploadId=') && !url.includes('partNumber='));
    const begun = own.findIndex(({ method }) => method === 'DELETE');
    const between = own.slice(
      begun,
      own.findLastIndex(({ method }) => method === 'DELETE'),
    );
    const reasons = between.filter(({ method, status }) =>
      method === 'DELETE' ? status === null || status >= 400 : method === 'GET' && status === 200,
    );
    const said = own.map(({ method, status }) => `${method} ${status}`);
    expect({ again: unanswered.length - 1, said }).toEqual({ again: reasons.length, said });
  }
  const failing =
    (number: number) =>
    (seen: Seen): Fault | null =>
      seen.url.includes(`partNumber=${number}&`) ? { kind: 'status', status: 500 } : null;

  test('where members begin is looked up while others are copied, once each', async () => {
    await put();
    const published = await publish();
    expect(published).toMatchObject({ size: bytes.length, copied: 18 * 6 * MIB });
    expect(Buffer.compare(await bytesOf(), bytes)).toBe(0);
    expect(NAMES.slice(1).map((_, index) => lookUps(index + 1))).toEqual(NAMES.slice(1).map(() => 1));
    const first = proxy.seen.indexOf(copies()[0]!);
    const begun = proxy.seen.findIndex(({ method, url }) => method === 'POST' && /[?&]uploads\b/.test(url));
    expect(proxy.seen.findIndex(({ headers: { range } }) => range?.startsWith(`bytes=${headers.get(NAMES[1]!)}-`))).toBeLessThan(begun);
    const last = proxy.seen.findLastIndex(({ headers: { range } }) => range?.startsWith(`bytes=${headers.get(NAMES.at(-1)!)}-`));
    expect(last).toBeGreaterThan(first);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test('a local header that lies, found out when others are copied: a typed error, and nothing is left', async () => {
    await put({ index: 18, size: 17 });
    const unanswered = atAbort();
    const error = await errorOf(publish());
    expect(error).toMatchObject({ code: 'CheckpointLoadError', retryable: false });
    expect(error.message).toContain(NAMES[18]);
    expect(copies().length).toBeGreaterThan(0);
    expectAborts(unanswered);
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  test('an attempt that fails is gone on with: what is copied is not copied again', async () => {
    await put();
    proxy.inject(failing(19));
    expect(await errorOf(publish())).toMatchObject({ code: 'CheckpointSourceError', retryable: true });
    proxy.reset();
    expect((await publish()).kept).toBeGreaterThan(0);
    expect(copies().length).toBeLessThan(18);
    expect(Buffer.compare(await bytesOf(), bytes)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test('an attempt that goes on finds the source changed: nothing of it is copied, and nothing is left', async () => {
    await put();
    proxy.inject(failing(19));
    await errorOf(publish());
    const old = archive;
    await put({ index: 18, size: 17 });
    const error = await errorOf(publish({ plan: old }));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false });
    expect(error.message).toContain('changed since it was pinned');
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  test('cancelled while the store copies: the upload is aborted when it has done so', async () => {
    await put();
    const controller = new AbortController();
    const unanswered = atAbort(() => controller.abort(new Error('cancelled')));
    expect((await errorOf(publish({ signal: controller.signal }))).message).toBe('cancelled');
    expect(copies().length).toBeGreaterThan(0);
    expectAborts(unanswered);
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  test('cancelled while the store does not say where a member begins', async () => {
    await put();
    const controller = new AbortController();
    proxy.inject((seen) => {
      if (!seen.headers.range?.startsWith(`bytes=${headers.get(NAMES[18]!)}-`)) return null;
      controller.abort(new Error('cancelled'));
      return { kind: 'stall' };
    });
    expect((await errorOf(publish({ signal: controller.signal, policy: RETRY }))).message).toBe('cancelled');
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });
});

describe('faults', () => {
  test.each([
    ['500', { kind: 'status', status: 500 }],
    ['503', { kind: 'status', status: 503 }],
    ['a reset', { kind: 'reset' }],
  ] as const)('%s to every third request: the bytes are right', async (_, fault) => {
    proxy.inject((_seen, index) => (index % 3 === 1 ? fault : null));
    const published = await publishS3(options({ policy: { ...QUICK, tries: 6 } }));
    proxy.reset();
    expect(published.sha256).toBe(createHash('sha256').update(expected).digest('hex'));
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test('an attempt that fails is gone on with: parts that are there are not sent again', async () => {
    proxy.inject((seen) => (seen.url.includes('partNumber=3') ? { kind: 'status', status: 500 } : null));
    expect(await errorOf(publishS3(options()))).toMatchObject({ code: 'CheckpointSourceError', retryable: true });
    expect(await left()).toEqual({ keys: ['out/.model.safetensors.token.partial', 'source.bin'], uploads: 1 });
    proxy.reset();
    const target = { Bucket: bucket, Key: 'out/model.safetensors' };
    const { Uploads } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    const { Parts } = await server.client.send(new ListPartsCommand({ ...target, UploadId: Uploads![0]!.UploadId! }));
    expect(Parts!.length).toBeGreaterThan(0);
    const published = await publishS3(options());
    expect(published.kept).toBe(Parts!.reduce((sum, { Size }) => sum + Size!, 0));
    expect(sent()).toBe(6 - Parts!.length);
    expect(published.sha256).toBe(createHash('sha256').update(expected).digest('hex'));
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  const xml = (code: string): string => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>No.</Message></Error>`;
  const part2 = (fault: Fault) => {
    let left = 1;
    return (seen: Seen): Fault | null => (seen.url.includes('partNumber=2') && left-- > 0 ? fault : null);
  };

  test.each<readonly [string, Fault]>([
    ['429', { kind: 'status', status: 429 }],
    ['503 SlowDown', { kind: 'status', status: 503, body: xml('SlowDown') }],
    ['400 RequestTimeout', { kind: 'status', status: 400, body: xml('RequestTimeout') }],
    ['a reset', { kind: 'reset' }],
    ['a stall', { kind: 'stall' }],
    ['an answer that is cut', { kind: 'headers', set: { 'content-length': '10' } }],
  ])('%s to a part: it is sent once more, no other is', async (_, fault) => {
    proxy.inject(part2(fault));
    const published = await publishS3(options({ policy: against(fault) }));
    expect(sent()).toBe(7);
    expect(published.sha256).toBe(createHash('sha256').update(expected).digest('hex'));
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test.each<readonly [string, Fault, Partial<CheckpointError>]>([
    ['500', { kind: 'status', status: 500 }, { code: 'CheckpointSourceError', retryable: true }],
    ['429', { kind: 'status', status: 429 }, { code: 'CheckpointSourceError', retryable: true }],
    ['resets', { kind: 'reset' }, { code: 'CheckpointSourceError', retryable: true }],
    ['stalls', { kind: 'stall' }, { code: 'CheckpointTimeoutError', retryable: true }],
  ])('%s to a part always: a typed error, requests bounded, and discarding leaves nothing', async (_, fault, error) => {
    proxy.inject((seen) => (seen.url.includes('partNumber=2') ? fault : null));
    expect(await errorOf(publishS3(options({ policy: { ...against(fault), tries: 2 } })))).toMatchObject(error);
    expect(proxy.seen.filter(({ url }) => url.includes('partNumber=2'))).toHaveLength(2);
    proxy.reset();
    await discardS3(port, options().uri, 'token', QUICK);
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  test('an upload that expires while parts are sent: retryable, and the next attempt begins anew', async () => {
    proxy.inject((seen) => (seen.url.includes('partNumber=2') ? { kind: 'status', status: 404, body: xml('NoSuchUpload') } : null));
    const error = await errorOf(publishS3(options()));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: true, details: { code: 'NoSuchUpload' } });
    expect(error.message).toContain('its multipart upload is gone');
    proxy.reset();
    const { Uploads } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    await port.abortUpload({ bucket, key: 'out/model.safetensors' }, Uploads![0]!.UploadId!);
    expect((await publishS3(options())).kept).toBe(0);
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  const begins = ({ method, url }: Seen): boolean => method === 'POST' && /[?&]uploads\b/.test(url);
  const completes = ({ method, url }: Seen): boolean => method === 'POST' && url.includes('uploadId=');

  test.each([
    ['began', begins],
    ['was completed', completes],
  ])('the answer that the upload %s is lost: nothing is left, the bytes are there once', async (_, which) => {
    let lost = 0;
    proxy.inject((seen) => (which(seen) && lost++ === 0 ? { kind: 'reset', after: 1 } : null));
    await publishS3(options());
    expect(lost).toBeGreaterThan(1);
    expect(sent()).toBe(6);
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  const page: Fault = { kind: 'status', status: 200, headers: { 'content-type': 'text/html' }, body: '<html><body>Sign in</body></html>' };

  test.each([
    ['begins', begins],
    ['completes', completes],
  ])('a page of HTML with 200 where an upload %s is asked for again; always, nothing is left of it', async (_, which) => {
    let times = 1;
    proxy.inject((seen) => (which(seen) && times-- > 0 ? page : null));
    await publishS3(options());
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
    times = Infinity;
    const other = { uri: `s3://${bucket}/out/other.safetensors`, token: 'other' };
    const error = await errorOf(publishS3(options(other)));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: true, details: { code: 'UnknownAnswer', attempts: 3 } });
    expect(error.message).toMatch(/the answer is not S3's: it has no (ETag|UploadId)/);
    proxy.reset();
    await discardS3(port, other.uri, other.token, QUICK);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test.each([
    ['discarded', () => discardS3(port, options().uri, 'token', QUICK), ['source.bin']],
    ['gone on with', () => publishS3(options()), DONE],
  ])('killed before the id of its upload was written down, it is found when it is %s; another one stays', async (_, goOn, keys) => {
    const theirs = await port.createUpload({ bucket, key: 'out/model.safetensors' }, { mark: 'theirs', sums: 'crc32' });
    await new Promise((resolve) => setTimeout(resolve, 2100));
    let puts = 0;
    // Of the small object beside the output, the second version never comes to be.
    proxy.inject((seen) =>
      seen.method === 'PUT' && seen.url.includes('.partial') && ++puts > 1 ? { kind: 'status', status: 500 } : begun(seen),
    );
    function begun(seen: Seen): Fault | null {
      // Nor does the clean-up that a living worker does.
      return seen.method === 'DELETE' ? { kind: 'status', status: 500 } : null;
    }
    await errorOf(publishS3(options()));
    proxy.reset();
    expect((await left()).uploads).toBe(2);
    await goOn();
    const { Uploads } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    expect(Uploads?.map(({ UploadId }) => UploadId)).toEqual([theirs]);
    expect((await left()).keys).toEqual(keys);
  });

  test('completed by an attempt that could not say so: nothing is sent again, and the digests are there', async () => {
    const first = await publishS3(options());
    proxy.reset();
    const again = await publishS3(options());
    expect(again).toEqual({ ...first, kept: expected.length });
    expect(proxy.seen.filter(({ method }) => method === 'PUT' || method === 'POST')).toEqual([]);
    // Of another content it is written anew, though it has as many bytes.
    expect((await publishS3(options({ content: 'beef'.repeat(16) }))).kept).toBe(0);
  });

  test('cancelled while the store answers nothing any more, it ends all the same', async () => {
    const controller = new AbortController();
    proxy.inject((seen) => (seen.url.includes('partNumber=2') || controller.signal.aborted ? { kind: 'stall' } : null));
    const cancelled = {
      signal: controller.signal,
      policy: RETRY,
      cleanupMs: 3000,
      onProgress: () => controller.abort(new Error('cancelled')),
    };
    expect((await errorOf(publishS3(options(cancelled)))).message).toBe('cancelled');
    proxy.reset();
    await discardS3(port, options().uri, 'token', QUICK);
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  test('cancelled while the store completes the upload, it ends when the output is there to be taken back', async () => {
    const controller = new AbortController();
    const slow: S3Port = {
      ...port,
      async completeUpload(target, upload, parts, condition, signal) {
        controller.abort(new Error('cancelled'));
        await sleep(50);
        signal?.throwIfAborted();
        return port.completeUpload(target, upload, parts, condition, signal);
      },
    };
    expect((await errorOf(publishS3(options({ port: slow, signal: controller.signal })))).message).toBe('cancelled');
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test.each(['createUpload', 'put'] as const)(
    'cancelled in %s, which the store carries out all the same, it leaves nothing',
    async (request) => {
      const controller = new AbortController();
      const slow = {
        ...port,
        [request]: async (...args: readonly unknown[]) => {
          const late = args.at(-1) as AbortSignal;
          controller.abort(new Error('cancelled'));
          const hungUp = new Promise((_, reject) => {
            if (late.aborted) reject(late.reason as Error);
            late.addEventListener('abort', () => reject(late.reason as Error));
          });
          const ask = port[request] as (...all: readonly unknown[]) => Promise<unknown>;
          const carriedOut = sleep(300).then(() => ask(...args.slice(0, -1)));
          return Promise.race([carriedOut, hungUp]);
        },
      } as S3Port;
      expect((await errorOf(publishS3(options({ port: slow, signal: controller.signal })))).message).toBe('cancelled');
      await sleep(600);
      expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
    },
  );

  test('cancelled in a single PUT, it ends when the output is there', async () => {
    const controller = new AbortController();
    const slow: S3Port = {
      ...port,
      async put(target, bytes, written, signal) {
        controller.abort(new Error('cancelled'));
        await sleep(50);
        signal?.throwIfAborted();
        return port.put(target, bytes, written, signal);
      },
    };
    const small = { ...plan, tensors: plan.tensors.slice(1, 2) };
    expect((await errorOf(publishS3(options({ plan: small, port: slow, signal: controller.signal })))).message).toBe('cancelled');
    expect(await left()).toEqual({ keys: ['out/model.safetensors', 'source.bin'], uploads: 0 });
  });

  test('an upload that expired begins anew', async () => {
    proxy.inject((seen) => (seen.url.includes('partNumber=2') ? { kind: 'status', status: 500 } : null));
    await errorOf(publishS3(options()));
    proxy.reset();
    const { Uploads } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    await port.abortUpload({ bucket, key: 'out/model.safetensors' }, Uploads![0]!.UploadId!);
    expect((await publishS3(options())).kept).toBe(0);
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test('403 is final and leaves nothing behind', async () => {
    proxy.inject((seen) => (seen.url.includes('partNumber=2') ? { kind: 'status', status: 403 } : null));
    const error = await errorOf(publishS3(options()));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { status: 403 } });
    expect(error.message).toContain('s3:PutObject');
    proxy.reset();
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  test('who may not delete is told so, of the key that it is about', async () => {
    proxy.inject((seen) => (seen.method === 'DELETE' && seen.url.includes('.partial') ? { kind: 'status', status: 403 } : null));
    const error = await errorOf(publishS3(options()));
    expect(error).toMatchObject({
      code: 'CheckpointSourceError',
      retryable: false,
      details: { status: 403, key: expect.stringMatching(/\.partial$/) },
    });
    expect(error.message).toContain('s3:DeleteObject');
  });

  test('nor does one who may not list the parts of an upload', async () => {
    proxy.inject((seen) =>
      seen.url.includes('partNumber=2') || (seen.method === 'GET' && seen.url.includes('uploadId='))
        ? { kind: 'status', status: 403 }
        : null,
    );
    expect(await errorOf(publishS3(options()))).toMatchObject({ code: 'CheckpointSourceError', retryable: false });
    proxy.reset();
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });

  test.each(['NOT_FOUND', 'TIMED_OUT', 'WORKER_SHUTDOWN'])(
    'over for the attempt alone (%s), it leaves the upload to the next one',
    async (reason) => {
      const controller = new AbortController();
      const late = errorOf(publishS3(options({ signal: controller.signal })));
      proxy.inject((seen) => (seen.url.includes('partNumber=3') ? { kind: 'stall' } : null));
      while ((await left()).uploads === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      controller.abort(new Error(reason));
      expect((await late).message).toBe(reason);
      expect((await left()).uploads).toBe(1);
      proxy.reset();
      expect((await publishS3(options())).sha256).toBe(createHash('sha256').update(expected).digest('hex'));
      expect(await left()).toEqual({ keys: DONE, uploads: 0 });
    },
  );

  test('cancelled, it leaves nothing behind; discarded after a kill neither', async () => {
    const controller = new AbortController();
    proxy.inject((seen) => (seen.url.includes('partNumber=2') ? { kind: 'stall' } : null));
    const publishing = errorOf(
      publishS3(options({ signal: controller.signal, onProgress: () => controller.abort(new Error('cancelled')) })),
    );
    expect((await publishing).message).toBe('cancelled');
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
    proxy.inject((seen) => (seen.url.includes('partNumber=2') ? { kind: 'status', status: 500 } : null));
    await errorOf(publishS3(options()));
    await discardS3(port, options().uri, 'token', QUICK);
    await discardS3(port, options().uri, 'token', QUICK);
    expect(await left()).toEqual({ keys: ['source.bin'], uploads: 0 });
  });
});

test('an upload that was begun and not named is found beside those of more runs than a page of a listing has', async () => {
  const target = { bucket, key: 'out/model.safetensors' };
  const named = async (token: string, upload: string | null): Promise<void> => {
    const text = Buffer.from(JSON.stringify({ upload, cut: '' }));
    const marker = { bucket, key: `out/.model.safetensors.${token}.partial` };
    await port.put(marker, text, { mark: '', condition: { kind: 'any' } });
  };
  await named('token', null);
  for (let at = 0; at < 1010; at += 101)
    await Promise.all(Array.from({ length: 101 }, (_, index) => named(`other-${at + index}`, 'another')));
  await port.createUpload(target, { mark: '', sums: 'crc32' });
  await discardS3(port, options().uri, 'token', QUICK);
  expect((await left()).uploads).toBe(0);
}, 120_000);

describe('what is there already', () => {
  const put = (): Promise<unknown> =>
    server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'out/model.safetensors', Body: 'theirs' }));

  test('never: it stays, also where it comes while we publish', async () => {
    await put();
    expect(await errorOf(publishS3(options({ overwrite: 'never' })))).toMatchObject({ details: { reason: 'exists' } });
    expect((await bytesOf()).toString()).toBe('theirs');
  });

  test.each([
    ['never', 'exists'],
    ['if_changed', 'concurrent_write'],
  ] as const)('%s: what comes meanwhile is kept', async (overwrite, reason) => {
    let came: Promise<unknown> | undefined;
    const error = await errorOf(publishS3(options({ overwrite, onProgress: () => void (came ??= put()) })));
    await came;
    expect(error).toMatchObject({ retryable: false, details: { reason } });
    expect((await bytesOf()).toString()).toBe('theirs');
    expect(await left()).toEqual({ keys: DONE, uploads: 0 });
  });

  test('if_changed and always: it is replaced', async () => {
    await put();
    await publishS3(options());
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    await put();
    await publishS3(options({ overwrite: 'always' }));
    expect(Buffer.compare(await bytesOf(), expected)).toBe(0);
    const head = await server.client.send(new HeadObjectCommand({ Bucket: bucket, Key: 'out/model.safetensors' }));
    expect(head.Metadata).toEqual({ 'checkpoint-pipeline': 'token/cafecafecafecafe' });
  });

  test('the source itself is never published over', async () => {
    expect((await errorOf(publishS3(options({ uri: `s3://${bucket}/source.bin` })))).message).toContain('is the source itself');
  });
});
