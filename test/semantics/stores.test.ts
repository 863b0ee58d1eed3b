/** Section 6 over a network: a real S3 server and a web server, each behind a proxy that does to answers what networks do. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { loadCatalog, type Catalog } from '../../activities/catalog.ts';
import type { StageOutcome } from '../../activities/stage.ts';
import type { JsonObject } from '../../src/errors.ts';
import { RETRY } from '../../src/io/retry.ts';
import { createStorage, type Storage } from '../../src/io/storage/storage.ts';
import { startFaultProxy, type Fault, type FaultProxy } from '../support/fault-proxy.ts';
import { fixture } from '../support/project.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';
import { refused, runSource } from '../support/source-stage.ts';
import { servicesOf } from '../support/temporal.ts';

const FILE = 'good/state_dict.pt';
/** Attempts at a request; a stall is over soon. */
const TRIES = 3;
const POLICY = { ...RETRY, tries: TRIES, pauseMs: 5, longestMs: 1500, stallMs: 1000 };

let content: Buffer;
let folder: string;
let catalog: Catalog;
let store: S3TestServer;
let bucket: string;
let web: Server;
let s3: FaultProxy;
let http: FaultProxy;
let storage: Storage;

beforeAll(async () => {
  content = await readFile(fixture(FILE));
  folder = await mkdtemp(join(tmpdir(), 'ckpt-semantics-'));
  catalog = await loadCatalog();
  store = await startS3Server();
  Object.assign(process.env, store.env);
  bucket = await store.bucket();
  await store.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'runs/last.pt', Body: content }));
  s3 = await startFaultProxy(store.endpoint);
  web = createServer((request, response) => {
    if (request.url !== '/last.pt') return void response.writeHead(404).end();
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const part = content.subarray(Number(from), Number(to) + 1);
    const range = `bytes ${from}-${Number(from) + part.length - 1}/${content.length}`;
    response.writeHead(206, { etag: '"one"', 'content-range': range, 'content-length': part.length }).end(part);
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  http = await startFaultProxy(`http://127.0.0.1:${(web.address() as AddressInfo).port}`);
}, S3_SETUP_TIMEOUT);
beforeEach(() => {
  s3.reset();
  http.reset();
  // Its own for each: a request on a connection that was kept is sent once more where nothing comes on it.
  storage = createStorage({
    policy: POLICY,
    cacheFolder: join(folder, 'cache'),
    settings: { s3: [{ buckets: ['*'], endpoint: s3.url, path_style: true }], http: {}, allow: {} },
  });
});
afterEach(() => storage?.close());
afterAll(async () => {
  await Promise.all([s3?.close(), http?.close(), store?.close()]);
  web?.closeAllConnections();
  web?.close();
  await rm(folder, { recursive: true, force: true });
});

const source = (type: 'source.http' | 'source.s3', options: JsonObject): Promise<StageOutcome> =>
  runSource(catalog, servicesOf(join(folder, 'workspace'), storage), type, options);
const fromWeb = (more: JsonObject = {}) => source('source.http', { url: `${http.url}/last.pt`, ...more });
const fromStore = (key = 'runs/last.pt') => source('source.s3', { url: `s3://${bucket}/${key}` });

/** A row with what is done to the first answer or to all, and the requests that makes. */
type Row = readonly [row: string, fault: Fault, expected: object, requests: number];

describe('6. Sources: HTTP', () => {
  test('parsed content, checkpoint_format from the content, its record keys', async () => {
    const { context } = await fromWeb();
    expect(context.metadata).toMatchObject({ source_type: 'http', checkpoint_format: 'state_dict', source_bytes: content.length });
  });

  test.each<Row>([
    [
      'status below 500: no retry; CheckpointSourceError, details source_path, original_error, attempts, status. 404 is not NotFound',
      { kind: 'status', status: 404 },
      { code: 'CheckpointSourceError', retryable: false, details: { status: 404, attempts: 1 } },
      1,
    ],
    ['other 4xx are final', { kind: 'status', status: 410 }, { code: 'CheckpointSourceError', retryable: false }, 1],
    [
      'status from 500: retried, then CheckpointSourceError with attempts = max_retries',
      { kind: 'status', status: 500 },
      { code: 'CheckpointSourceError', retryable: true, details: { attempts: TRIES } },
      TRIES,
    ],
    ['408 is retried', { kind: 'status', status: 408 }, { code: 'CheckpointSourceError', retryable: true }, TRIES],
    ['425 is retried', { kind: 'status', status: 425 }, { code: 'CheckpointSourceError', retryable: true }, TRIES],
    ['429 is retried', { kind: 'status', status: 429 }, { code: 'CheckpointSourceError', retryable: true }, TRIES],
    [
      '503 honours Retry-After',
      { kind: 'status', status: 503, headers: { 'retry-after': '60' } },
      { code: 'CheckpointSourceError', retryable: true, retryAfterMs: 60_000 },
      1,
    ],
    ['refused connection: retried', { kind: 'reset' }, { code: 'CheckpointSourceError', retryable: true }, TRIES],
    ['short body: retried', { kind: 'truncate', after: 10 }, { code: 'CheckpointSourceError', retryable: true }, TRIES],
    [
      'timeout (seconds without progress): retried, then CheckpointTimeoutError',
      { kind: 'stall' },
      { code: 'CheckpointTimeoutError', retryable: true, details: { attempts: TRIES } },
      TRIES,
    ],
  ])('%s', async (_, fault, expected, requests) => {
    http.inject(() => fault);
    const error = await refused(fromWeb());
    expect(error).toMatchObject(expected);
    expect(error.details[error.code === 'CheckpointTimeoutError' ? 'url' : 'source_path']).toBe(`${http.url}/last.pt`);
    expect(http.seen).toHaveLength(requests);
  });

  test('a retry resumes at the last byte (range + entity tag)', async () => {
    const opened = await storage.open(`${http.url}/last.pt`);
    const identity = { uri: opened.uri, size: opened.size, identity: opened.identity };
    const pinned = await storage.openPinned(identity);
    http.reset();
    http.inject((_, index) => (index === 0 ? { kind: 'truncate', after: 100 } : null));
    expect(Buffer.from(await pinned.read(0, 1000)).equals(content.subarray(0, 1000))).toBe(true);
    expect(http.seen.map(({ headers }) => [headers.range, headers['if-range']])).toEqual([
      ['bytes=0-999', '"one"'],
      ['bytes=100-999', '"one"'],
    ]);
  });

  test('expected_checksum: different -> CheckpointValidationError naming both', async () => {
    const error = await refused(fromWeb({ expected_checksum: 'ab'.repeat(32) }));
    expect(error.code).toBe('CheckpointValidationError');
    expect(error.message).toContain('ab'.repeat(32));
    expect(error.message).toContain(String(error.details['actual']));
  });

  test('no temporary file, on success or failure, and checkpoint_path is not set', async () => {
    expect((await fromWeb()).context.metadata).not.toHaveProperty('checkpoint_path');
    http.inject(() => ({ kind: 'truncate', after: 10 }));
    await refused(fromWeb());
    expect(await readdir(join(folder, 'cache')).catch(() => [])).toEqual([]);
  });
});

describe('6. Sources: S3', () => {
  test('parsed content, checkpoint_format from the content, its record keys', async () => {
    const { context } = await fromStore();
    expect(context.metadata).toMatchObject({
      source_type: 's3',
      checkpoint_format: 'state_dict',
      source_bytes: content.length,
      s3_bucket: bucket,
      s3_key: 'runs/last.pt',
    });
  });

  test.each([
    ['no such key -> NotFound', async () => fromStore('runs/lost.pt')],
    ['no such bucket -> NotFound', async () => source('source.s3', { url: 's3://no-such-bucket-here/last.pt' })],
  ])('%s', async (_, run) => {
    expect((await refused(run())).code).toBe('CheckpointNotFoundError');
  });

  test.each<Row>([
    ['401 -> final CheckpointSourceError with status', { kind: 'status', status: 401 }, { retryable: false, details: { status: 401 } }, 2],
    ['403 -> final CheckpointSourceError with status', { kind: 'status', status: 403 }, { retryable: false, details: { status: 403 } }, 2],
    // After the last try it is asked why, as an answer to HEAD does not say.
    ['429 -> retryable CheckpointSourceError', { kind: 'status', status: 429 }, { retryable: true }, TRIES + 1],
    ['5xx -> retryable CheckpointSourceError', { kind: 'status', status: 500 }, { retryable: true }, TRIES + 1],
    ['network -> retryable CheckpointSourceError', { kind: 'reset' }, { retryable: true }, TRIES],
  ])('%s; original_error always set', async (_, fault, expected, requests) => {
    s3.inject(() => fault);
    const error = await refused(fromStore());
    expect(error).toMatchObject({ code: 'CheckpointSourceError', ...expected });
    expect(error.details['original_error']).toEqual(expect.any(String));
    expect(s3.seen).toHaveLength(requests);
  });

  test('entity tag pinned so the object cannot change under a run', async () => {
    const { uri, size, identity } = await storage.open(`s3://${bucket}/runs/last.pt`);
    await store.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'runs/last.pt', Body: Buffer.concat([content, content]) }));
    const pinned = await storage.openPinned({ uri, size, identity });
    expect(await refused(pinned.read(0, 10))).toMatchObject({ code: 'CheckpointSourceError', retryable: false });
  });
});
