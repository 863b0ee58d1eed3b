import { writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { CheckpointSourceError, type CheckpointError } from '../../../src/errors.ts';
import { RETRY, type RetryPolicy } from '../../../src/io/retry.ts';
import { connectS3 } from '../../../src/io/s3/aws/connect.ts';
import type { S3Port } from '../../../src/io/s3/port.ts';
import { reachBucket } from '../../../src/io/s3/reach.ts';
import { headOrNull } from '../../../src/io/s3/head.ts';
import { FOLDER_PAGES, objectsUnder, openPinnedS3, openS3, readSmallS3 } from '../../../src/io/s3/source.ts';
import type { Storage } from '../../../src/io/storage/storage.ts';
import { discardS3 } from '../../../src/io/s3/upload.ts';
import { pin } from '../../../src/model/byte-source.ts';
import { startFaultProxy, SWITCHED, type Fault, type FaultProxy } from '../../support/fault-proxy.ts';
import { noise } from '../../support/memory-source.ts';
import { SELF_SIGNED } from '../../support/self-signed.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../../support/s3-server.ts';

const QUICK: RetryPolicy = { ...RETRY, tries: 3, pauseMs: 5, longestMs: 1500, stallMs: 20_000 };
/** For what stalls: long enough for a busy machine, no longer. */
const IMPATIENT: RetryPolicy = { ...QUICK, stallMs: 1000 };
const policyFor = ({ kind }: Fault): RetryPolicy => (kind === 'stall' || kind === 'drip' ? IMPATIENT : QUICK);
const CONTENT = noise(300_000);

let server: S3TestServer;
let proxy: FaultProxy;
let port: S3Port;
let bucket: string;
let versioned: string;

beforeAll(async () => {
  server = await startS3Server();
  Object.assign(process.env, server.env);
  bucket = await server.bucket();
  versioned = await server.bucket({ versioned: true });
  await put(CONTENT);
  proxy = await startFaultProxy(server.endpoint);
  port = await connectS3({ buckets: ['*'], endpoint: proxy.url });
}, S3_SETUP_TIMEOUT);
afterEach(() => proxy?.reset());
afterAll(async () => {
  port?.close();
  await proxy?.close();
  await server?.close();
});

function put(Body: Uint8Array, Key = 'runs/last.ckpt', Bucket = bucket): Promise<unknown> {
  return server.client.send(new PutObjectCommand({ Bucket, Key, Body }));
}

async function errorOf(work: Promise<unknown>): Promise<CheckpointError> {
  return work.then(
    () => {
      throw new Error('it should have failed');
    },
    (error: CheckpointError) => error,
  );
}

const open = (policy = QUICK) => openS3(port, `s3://${bucket}/runs/last.ckpt`, policy);

test('reads ranges on condition of the entity tag', async () => {
  const source = await open();
  expect(source).toMatchObject({ uri: `s3://${bucket}/runs/last.ckpt`, size: CONTENT.length });
  expect(await source.read(10, 20)).toEqual(CONTENT.slice(10, 30));
  const target = new Uint8Array(CONTENT.length);
  await source.readInto(0, target);
  expect(Buffer.compare(target, CONTENT)).toBe(0);
  const gets = proxy.seen.filter(({ method }) => method === 'GET');
  expect(gets).toHaveLength(2);
  expect(gets.every(({ headers }) => headers['if-match'] === source.identity)).toBe(true);
  await expect(source.read(CONTENT.length - 1, 2)).rejects.toMatchObject({ code: 'CheckpointLoadError' });
});

test('an object that was replaced is never mixed: the read fails for good', async () => {
  await put(CONTENT, 'replaced');
  const source = await openS3(port, `s3://${bucket}/replaced`, QUICK);
  await source.read(0, 10);
  await put(noise(CONTENT.length, 2), 'replaced');
  proxy.reset();
  const error = await errorOf(source.read(0, 10));
  expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false });
  expect(error.message).toContain('changed since it was pinned');
  expect(proxy.seen).toHaveLength(1);
});

test('a small object whose bytes come without the tag that it was pinned by is not taken', async () => {
  proxy.inject(({ method }) => (method === 'GET' ? { kind: 'headers', set: { etag: null } } : null));
  await expect(readSmallS3(port, { bucket, key: 'runs/last.ckpt' }, QUICK)).rejects.toMatchObject({ code: 'Changed', retryable: false });
});

test('a version stays readable after it was replaced, by URI and when pinned', async () => {
  await put(CONTENT.slice(0, 1000), 'k', versioned);
  const first = await openS3(port, `s3://${versioned}/k`, QUICK);
  await put(CONTENT.slice(0, 2000), 'k', versioned);
  expect(await first.read(0, 1000)).toEqual(CONTENT.slice(0, 1000));
  const pinned = openPinnedS3(port, pin(first), QUICK);
  expect(await pinned.read(990, 10)).toEqual(CONTENT.slice(990, 1000));
  const id = first.identity.split(';version=')[1]!;
  expect((await openS3(port, `s3://${versioned}/k?versionId=${id}`, QUICK)).size).toBe(1000);
  expect((await openS3(port, `s3://${versioned}/k`, QUICK)).size).toBe(2000);
});

describe('what is not there', () => {
  test('a missing object names its near names', async () => {
    const error = await errorOf(openS3(port, `s3://${bucket}/runs/lats.ckpt`, QUICK));
    expect(error.code).toBe('CheckpointNotFoundError');
    expect(error.message).toContain(`s3://${bucket}/runs/lats.ckpt`);
    expect(error.message).toContain('region us-east-1');
    expect(error.details).toMatchObject({ bucket, key: 'runs/lats.ckpt', near: ['last.ckpt'] });
  });

  test('a missing bucket is told from a missing object', async () => {
    const error = await errorOf(openS3(port, 's3://there-is-none-of-that-name/k', QUICK));
    expect(error.code).toBe('CheckpointNotFoundError');
    expect(error.message).toContain('There is no bucket there-is-none-of-that-name');
  });

  test('wrong credentials are refused for good, and are not repeated', async () => {
    const saved = process.env['AWS_SECRET_ACCESS_KEY'];
    process.env['AWS_SECRET_ACCESS_KEY'] = 'a-very-secret-thing';
    const other = await connectS3({ buckets: ['*'], endpoint: server.endpoint });
    try {
      const error = await errorOf(openS3(other, `s3://${bucket}/runs/last.ckpt`, QUICK));
      expect(error).toMatchObject({
        code: 'CheckpointSourceError',
        retryable: false,
        details: { status: 403, bucket, region: 'us-east-1' },
      });
      expect(error.message).toContain('the AWS default chain');
      expect(JSON.stringify([error.message, error.details, String(error.cause)])).not.toMatch(/a-very-secret-thing|test-key/);
    } finally {
      process.env['AWS_SECRET_ACCESS_KEY'] = saved;
      other.close();
    }
  });
});

test('unsigned requests carry no credentials; requester pays is said', async () => {
  const unsigned = await connectS3({ buckets: ['*'], endpoint: proxy.url, unsigned: true });
  await errorOf(openS3(unsigned, `s3://${bucket}/runs/last.ckpt`, QUICK));
  expect(proxy.seen.length).toBeGreaterThan(0);
  expect(proxy.seen.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  unsigned.close();
  proxy.reset();
  const paying = await connectS3({ buckets: ['*'], endpoint: proxy.url, requester_pays: true });
  await (await openS3(paying, `s3://${bucket}/runs/last.ckpt`, QUICK)).read(0, 1);
  expect(proxy.seen.map(({ headers }) => headers['x-amz-request-payer'])).toEqual(['requester', 'requester']);
  paying.close();
});

test.each(['a b/épée+1%20.ckpt', 'x?y#z&w=1;v', 'q\'"(*)!~', '日本/語.pt', 'trailing ', '//double//slash'])(
  'a key with every kind of character: %j',
  async (key) => {
    await put(CONTENT.slice(0, 1000), key);
    const source = await openS3(port, `s3://${bucket}/${key}`, QUICK);
    expect(source.uri).toBe(`s3://${bucket}/${key}`);
    expect(await source.read(10, 20)).toEqual(CONTENT.slice(10, 30));
  },
);

test('an object without bytes is empty, and nothing is asked for it', async () => {
  await put(new Uint8Array(0), 'empty');
  const source = await openS3(port, `s3://${bucket}/empty`, QUICK);
  proxy.reset();
  expect(source.size).toBe(0);
  expect(await source.read(0, 0)).toEqual(new Uint8Array(0));
  expect(await readSmallS3(port, { bucket, key: 'empty' }, QUICK)).toBe('');
  expect(proxy.seen.filter(({ method }) => method === 'GET')).toEqual([]);
});

test('listings go on past their first page, and a page that fails is asked for again', async () => {
  const many = await server.bucket();
  const keys = Array.from({ length: 1003 }, (_, index) => `set/model-${String(index).padStart(5, '0')}.safetensors`);
  keys.push('set/model.safetensors.index.json');
  for (let from = 0; from < keys.length; from += 50)
    await Promise.all(keys.slice(from, from + 50).map((key) => put(new Uint8Array(1), key, many)));
  await put(new Uint8Array(1), 'set/deeper/x', many);
  proxy.reset();
  proxy.inject((_, index) => (index === 1 ? { kind: 'status', status: 503 } : null));
  const listed: string[] = [];
  for await (const { key } of objectsUnder(port, { bucket: many, key: 'set/' }, { flat: true, policy: QUICK })) listed.push(key);
  expect(listed).toEqual(keys);
  expect(proxy.seen).toHaveLength(3);
}, 120_000);

async function listed(of: S3Port): Promise<void> {
  const options = { flat: true, policy: QUICK, mostPages: FOLDER_PAGES };
  for await (const _ of objectsUnder(of, { bucket, key: 'runs/' }, options));
}

describe('listings without end', () => {
  const page = (next: string) => ({ objects: [{ key: 'runs/last.ckpt', size: 1, modified: 0 }], next });

  test.each([
    ['again at once', ['a', 'a'], 2],
    ['in turns', ['a', 'b', 'a'], 3],
  ])('a continuation token that comes %s is refused', async (_, tokens, requests) => {
    let asked = 0;
    const turning: S3Port = { ...port, list: async () => page(tokens[asked++]!) };
    const error = await errorOf(listed(turning));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'RepeatedToken' } });
    expect(error.message).toContain(`s3://${bucket}/runs/`);
    expect(asked).toBe(requests);
  });

  test('a folder of more names than a checkpoint has is refused', async () => {
    let asked = 0;
    const growing: S3Port = { ...port, list: async () => page(`page ${asked++}`) };
    const error = await errorOf(listed(growing));
    expect(error).toMatchObject({ code: 'CheckpointLoadError' });
    expect(error.message).toContain('goes on after 100 pages');
    expect(asked).toBe(100);
  });

  test('of an answer that is not an object, only so much is taken', async () => {
    const body = `<?xml version="1.0"?><ListBucketResult><Contents><Key>${'a'.repeat(17 * 2 ** 20)}`;
    for (const [status, asking] of [
      [200, () => listed(port)],
      [400, async () => openPinnedS3(port, { uri: `s3://${bucket}/k`, size: 10, identity: '"e"' }, QUICK).read(0, 10)],
    ] as const) {
      proxy.reset();
      proxy.inject(() => ({ kind: 'status', status, body }));
      const error = await errorOf(asking());
      expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'UnknownAnswer', status } });
      expect(error.message).toContain('it goes on after 16777216 bytes');
      expect(proxy.seen).toHaveLength(1);
    }
  });
});

describe('answers that are no whole listing', () => {
  const entry = '<Contents><Key>runs/last.ckpt</Key><LastModified>2024-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>';
  const result = (inner: string): string => `<?xml version="1.0"?>\n<ListBucketResult>${inner}</ListBucketResult>`;
  const answering = async (body: string): Promise<CheckpointError> => {
    proxy.reset();
    proxy.inject(() => ({ kind: 'status', status: 200, body }));
    return errorOf(listed(port));
  };

  test('one that is cut without a word how to go on is refused', async () => {
    for (const token of ['', '<NextContinuationToken></NextContinuationToken>', '<NextMarker>runs/last.ckpt</NextMarker>']) {
      const error = await answering(result(`<IsTruncated>true</IsTruncated>${token}${entry}`));
      expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'ListingCut' } });
      expect(error.message).toContain('does not know ListObjectsV2');
      expect(proxy.seen).toHaveLength(1);
    }
  });

  test('whether a bucket is there, such a store says all the same', async () => {
    proxy.inject(() => ({ kind: 'status', status: 200, body: result('<IsTruncated>true</IsTruncated>') }));
    // Of a storage, this is used only.
    await reachBucket(`s3://${bucket}/k`, { s3: async () => port, policy: QUICK } as unknown as Storage);
  });

  test.each(['Key', 'Size', 'LastModified'])('an entry without %s is refused', async (name) => {
    const error = await answering(result(`<IsTruncated>false</IsTruncated>${entry.replace(new RegExp(`<${name}>.*</${name}>`), '')}`));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', details: { code: 'UnknownAnswer' } });
    expect(error.message).toContain(`it has no ${name} in an entry of its listing`);
  });

  test.each([
    ['nothing', '', 'no XML came'],
    ['a page', '<!DOCTYPE html><html><body><form>Log in</form></body></html>', 'no XML came'],
    ['another page', '<html><head/></html>', 'a "html" came'],
    ['another answer', '<?xml version="1.0"?><ListAllMyBucketsResult/>', 'a "ListAllMyBucketsResult" came'],
  ])('%s is none', async (_, body, says) => {
    const error = await answering(body);
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: true, details: { code: 'UnknownAnswer', attempts: 3 } });
    expect(error.message).toContain(`expected a ListBucketResult, and ${says}`);
    await expect(port.listUploads({ bucket, key: 'k' })).rejects.toMatchObject({ code: 'UnknownAnswer' });
    await expect(port.listParts({ bucket, key: 'k' }, 'u')).rejects.toMatchObject({ code: 'UnknownAnswer' });
  });

  test('an error of status 200 is what it says', async () => {
    const error = await answering('<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>');
    expect(error).toMatchObject({ retryable: false, details: { code: 'AccessDenied', status: 403, attempts: 1 } });
    expect(await answering(' <Error><Code>InternalError</Code></Error>')).toMatchObject({ retryable: true, details: { status: 503 } });
  });

  test('an empty one is', async () => {
    proxy.inject(() => ({ kind: 'status', status: 200, body: '<!-- none --><s3:ListBucketResult xmlns:s3="x"/>' }));
    await listed(port);
  });
});

describe('credentials and clocks', () => {
  const refusal = (code: string): Fault => ({
    kind: 'status',
    status: code === 'ExpiredToken' ? 400 : 403,
    body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>No.</Message></Error>`,
  });

  test('a token that expires in the middle of a run is renewed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ckpt-credentials-'));
    const saved = { ...process.env };
    try {
      const { AWS_ACCESS_KEY_ID: AccessKeyId, AWS_SECRET_ACCESS_KEY: SecretAccessKey } = server.env;
      const Expiration = new Date(Date.now() + 3600_000).toISOString();
      const answer = JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey, Expiration });
      // Each time it is asked for credentials it leaves a line.
      const script = join(folder, 'provide.sh');
      await writeFile(script, `#!/bin/sh\necho asked >> ${join(folder, 'asked')}\necho '${answer}'\n`, { mode: 0o755 });
      await writeFile(join(folder, 'config'), `[profile rotating]\ncredential_process = ${script}\n`);
      process.env['AWS_CONFIG_FILE'] = join(folder, 'config');
      const rotating = await connectS3({ buckets: ['*'], endpoint: proxy.url, profile: 'rotating' });
      const asked = async (): Promise<number> => (await readFile(join(folder, 'asked'), 'utf8')).trim().split('\n').length;
      const source = await openS3(rotating, `s3://${bucket}/runs/last.ckpt`, QUICK);
      expect(await asked()).toBe(1);
      proxy.inject((_, index) => (index === 0 ? refusal('ExpiredToken') : null));
      expect(await source.read(0, 10)).toEqual(CONTENT.slice(0, 10));
      expect(await asked()).toBe(2);
      // An answer to HEAD has no code; the store's reason is asked for, and it is tried again all the same.
      proxy.inject((_, index) => (index < 2 ? refusal('ExpiredToken') : null));
      expect((await openS3(rotating, `s3://${bucket}/runs/last.ckpt`, QUICK)).size).toBe(CONTENT.length);
      expect(await asked()).toBe(3);
      rotating.close();
    } finally {
      process.env['AWS_CONFIG_FILE'] = saved['AWS_CONFIG_FILE'];
      await rm(folder, { recursive: true, force: true });
    }
  });

  test.each([undefined, 'InvalidAccessKeyId', 'ExpiredToken'])(
    'keys that were put right in their file are taken from there (refused with %s)',
    async (code) => {
      const folder = await mkdtemp(join(tmpdir(), 'ckpt-credentials-'));
      const saved = { ...process.env };
      const file = join(folder, 'credentials');
      const keys = (id: string, secret: string): string => `[kept]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`;
      const { AWS_ACCESS_KEY_ID: id = '', AWS_SECRET_ACCESS_KEY: secret = '' } = server.env;
      try {
        writeFileSync(file, keys(id, 'mistyped'));
        process.env['AWS_SHARED_CREDENTIALS_FILE'] = file;
        const port = await connectS3({ buckets: ['*'], endpoint: proxy.url, profile: 'kept' });
        proxy.reset();
        // While the first request is under way; the store itself refuses it, or we do.
        proxy.inject((_, index) => {
          if (index === 0) writeFileSync(file, keys(id, secret));
          // An answer to HEAD has no code; with status 400 the store's reason is asked for.
          return index < (code === 'ExpiredToken' ? 2 : 1) && code !== undefined ? refusal(code) : null;
        });
        expect((await openS3(port, `s3://${bucket}/runs/last.ckpt`, QUICK)).size).toBe(CONTENT.length);
        port.close();
      } finally {
        process.env['AWS_SHARED_CREDENTIALS_FILE'] = saved['AWS_SHARED_CREDENTIALS_FILE'];
        await rm(folder, { recursive: true, force: true });
      }
    },
  );

  test.each([
    ['SignatureDoesNotMatch', 'the secret key does not belong to the access key'],
    ['InvalidAccessKeyId', 'it does not know the access key'],
  ])('%s is not a lack of permission', async (code, says) => {
    const source = await open();
    proxy.inject(() => refusal(code));
    const error = await errorOf(source.read(0, 10));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code } });
    expect(error.message).toContain(says);
    expect(error.message).not.toContain('s3:GetObject');
  });

  describe('under HEAD, whose answers have no code', () => {
    const target = () => ({ bucket, key: 'runs/last.ckpt' });
    /** Like a store: the reason stands in the body, which HEAD has none of. */
    const refusing = (code: string, status: number): void => {
      proxy.reset();
      proxy.inject(() => ({ kind: 'status', status, body: `<Error><Code>${code}</Code><Message>No.</Message></Error>` }));
    };
    const questions = {
      'what is there': () => headOrNull(port, target(), QUICK, undefined),
      'a small object': () => readSmallS3(port, target(), QUICK),
    };

    test.each(Object.entries(questions))('%s: keys that are over are renewed, and it is asked again', async (_, ask) => {
      const folder = await mkdtemp(join(tmpdir(), 'ckpt-credentials-'));
      const saved = process.env['AWS_SHARED_CREDENTIALS_FILE'];
      const file = join(folder, 'credentials');
      const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = server.env;
      const keys = `[kept]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`;
      const before = port;
      try {
        process.env['AWS_SHARED_CREDENTIALS_FILE'] = file;
        writeFileSync(file, `${keys}aws_session_token = old\n`);
        port = await connectS3({ buckets: ['*'], endpoint: proxy.url, profile: 'kept' });
        proxy.reset();
        proxy.inject((seen) => {
          if (seen.headers['x-amz-security-token'] === undefined) return null;
          writeFileSync(file, keys);
          return refusal('ExpiredToken');
        });
        await ask();
        expect(proxy.seen.slice(0, 3).map(({ method, headers }) => [method, headers['x-amz-security-token']])).toEqual([
          ['HEAD', 'old'],
          ['GET', 'old'],
          ['HEAD', undefined],
        ]);
        // Where one is asked in time for nothing but one answer, too.
        writeFileSync(file, `${keys}aws_session_token = old\n`);
        port.close();
        port = await connectS3({ buckets: ['*'], endpoint: proxy.url, profile: 'kept' });
        await reachBucket(`s3://${bucket}/k`, { s3: async () => port, policy: QUICK } as unknown as Storage);
      } finally {
        port.close();
        port = before;
        process.env['AWS_SHARED_CREDENTIALS_FILE'] = saved;
        await rm(folder, { recursive: true, force: true });
      }
    });

    test.each(Object.entries(questions))('%s: the reason is asked for', async (_, ask) => {
      for (const [code, status] of [
        ['SignatureDoesNotMatch', 403],
        ['AccessDenied', 403],
        ['AccountProblem', 400],
      ] as const) {
        refusing(code, status);
        await expect(ask()).rejects.toMatchObject({ code, status, retryable: false });
        expect(proxy.seen.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
      }
      // Once, where the store has too much to do.
      refusing('SlowDown', 503);
      await expect(ask()).rejects.toMatchObject({ code: 'SlowDown', status: 503, retryable: true, attempts: 3 });
      expect(proxy.seen.map(({ method }) => method)).toEqual(['HEAD', 'HEAD', 'HEAD', 'GET']);
      // It is the answer that is expected: nobody asks why.
      refusing('NoSuchKey', 404);
      expect(await ask()).toBeNull();
      expect(proxy.seen).toHaveLength(1);
    });

    test('where GET is answered, it is said that HEAD is not', async () => {
      proxy.inject(({ method }) => (method === 'HEAD' ? { kind: 'status', status: 403 } : null));
      const error = await errorOf(open());
      expect(error).toMatchObject({ retryable: false, details: { code: 'HeadRefused', status: 403 } });
      expect(error.message).toContain('refuses HEAD with 403, while it answers GET');
    });

    test('an answer without an entity tag pins nothing, and it is said where to look', async () => {
      proxy.inject(() => ({ kind: 'headers', set: { etag: null } }));
      const error = await errorOf(open());
      expect(error).toMatchObject({ retryable: false, details: { code: 'NoETag' } });
      expect(error.message).toContain('Look for a proxy or cache on the way');
    });

    test('a refusal names the permission of the request itself', async () => {
      refusing('AccessDenied', 403);
      const object = { ...target(), versionId: null };
      const sum = { kind: 'md5', base64: '' } as const;
      const requests: Readonly<Record<string, () => Promise<unknown>>> = {
        's3:GetObject': () => port.head(object, { checksum: false }),
        's3:PutObject': () => port.put(target(), new Uint8Array(1), { mark: '', condition: { kind: 'any' } }),
        's3:DeleteObject': () => port.remove(target()),
        's3:ListBucket': () => port.list(bucket, '', { flat: true, from: null }),
        's3:ListMultipartUploadParts': () => port.listParts(target(), 'u'),
        's3:AbortMultipartUpload': () => port.abortUpload(target(), 'u'),
        's3:ListBucketMultipartUploads': () => port.listUploads(target()),
      };
      for (const [permission, ask] of Object.entries(requests))
        await expect(ask()).rejects.toMatchObject({ permission: expect.stringMatching(`^${permission} on `) });
      await expect(port.uploadPart(target(), 'u', 1, new Uint8Array(1), sum, new AbortController().signal)).rejects.toMatchObject({
        permission: 's3:PutObject on this key',
      });
      // Where several are made, it is the one that was refused.
      await put(new TextEncoder().encode('{"upload":"u","cut":"c"}'), 'runs/.out.token.partial');
      proxy.inject(({ method }) => (method === 'DELETE' ? { kind: 'status', status: 403 } : null));
      await expect(discardS3(port, `s3://${bucket}/runs/out`, 'token', QUICK)).rejects.toMatchObject({
        permission: 's3:AbortMultipartUpload on this key',
      });
    });

    test('who is refused is told which permissions it takes to know whether a key is there', async () => {
      for (const code of ['AccessDenied', 'Forbidden', 'OddlyDenied']) {
        refusing(code, 403);
        const { message } = await errorOf(open());
        expect(message).toContain(
          's3:GetObject on this key, and s3:ListBucket on the bucket: who may not list is refused a key that is missing',
        );
      }
      refusing('AccessDenied', 403);
      expect((await errorOf(listed(port))).message).toContain('Check that they may s3:ListBucket on the bucket.');
    });
  });

  test('a clock that goes wrong is set by the answers of the store', async () => {
    const source = await open();
    proxy.reset();
    const at = (ms: number): Fault => ({ ...refusal('RequestTimeTooSkewed'), headers: { date: new Date(ms).toUTCString() } }) as Fault;
    // The store's clock is two hours ahead, and then it is not.
    proxy.inject((_, index) => (index === 0 ? at(Date.now() + 7200_000) : index === 1 ? at(Date.now()) : null));
    expect(await source.read(0, 10)).toEqual(CONTENT.slice(0, 10));
    const [first, second, third] = proxy.seen.map(({ headers }) => String(headers['x-amz-date']));
    expect(second!.slice(0, 11) === first!.slice(0, 11)).toBe(false);
    expect(third!.slice(0, 11)).toBe(first!.slice(0, 11));
  });
});

describe('faults', () => {
  const body = '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>';
  const once =
    (fault: Fault) =>
    (_: unknown, index: number): Fault | null =>
      index === 0 ? fault : null;
  const always = (fault: Fault) => (): Fault => fault;

  const mended: readonly (readonly [string, Fault, number])[] = [
    ['500', { kind: 'status', status: 500 }, 2],
    ['503 SlowDown', { kind: 'status', status: 503, body }, 2],
    ['429', { kind: 'status', status: 429 }, 2],
    ['400 RequestTimeout', { kind: 'status', status: 400, body: body.replace('SlowDown', 'RequestTimeout') }, 2],
    ['429 with Retry-After', { kind: 'status', status: 429, headers: { 'retry-after': '1' } }, 2],
    ['a page of HTML with 502', { kind: 'status', status: 502, body: '<html><body>Bad gateway' }, 2],
    ['a reset before the headers', { kind: 'reset' }, 2],
    ['a reset in the body', { kind: 'reset', after: 100_000 }, 2],
    ['a stall before the headers', { kind: 'stall' }, 2],
    ['a stall in the body', { kind: 'stall', after: 100_000 }, 2],
    ['a body that ends early', { kind: 'truncate', after: 100_000 }, 2],
    ['a body that goes on', { kind: 'lengthen', by: 10 }, 2],
    ['a wrong Content-Range', { kind: 'headers', set: { 'content-range': 'bytes 0-199999/300000' } }, 2],
    ['no Content-Range', { kind: 'headers', set: { 'content-range': null } }, 2],
    ['200 for a range', { kind: 'headers', set: { 'content-range': null }, status: 200 }, 2],
    ['a drip', { kind: 'drip', bytes: 10, everyMs: 20 }, 2],
  ];
  test.each(mended)('%s once: the bytes are right, wherever they go', async (_, fault, requests) => {
    const source = await open(policyFor(fault));
    proxy.reset();
    proxy.inject(once(fault));
    const pieces = [70_000, 500, 29_400, 0, 200, 99_900].map((length) => new Uint8Array(length));
    await source.readEach!(50_000, pieces);
    expect(Buffer.compare(Buffer.concat(pieces), CONTENT.subarray(50_000, 250_000))).toBe(0);
    expect(proxy.seen).toHaveLength(requests);
  });

  test('a retry asks for what is missing only', async () => {
    const source = await open();
    proxy.reset();
    proxy.inject(once({ kind: 'truncate', after: 65_536 }));
    await source.read(0, 200_000);
    expect(proxy.seen.map(({ headers }) => headers.range)).toEqual(['bytes=0-199999', 'bytes=65536-199999']);
  });

  const lasting: readonly (readonly [string, Fault, Partial<CheckpointError>, number])[] = [
    ['500', { kind: 'status', status: 500 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    ['503', { kind: 'status', status: 503, body }, { code: 'CheckpointSourceError', retryable: true }, 3],
    ['403', { kind: 'status', status: 403 }, { code: 'CheckpointSourceError', retryable: false }, 1],
    ['400', { kind: 'status', status: 400 }, { code: 'CheckpointSourceError', retryable: false }, 1],
    ['resets', { kind: 'reset', after: 1000 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    ['stalls', { kind: 'stall', after: 1000 }, { code: 'CheckpointTimeoutError', retryable: true }, 3],
    ['a drip', { kind: 'drip', bytes: 10, everyMs: 20 }, { code: 'CheckpointTimeoutError', retryable: true }, 3],
    ['short bodies', { kind: 'truncate', after: 10 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    ['another entity tag', { kind: 'headers', set: { etag: '"other"' } }, { code: 'CheckpointSourceError', retryable: false }, 1],
    ['another size', { kind: 'headers', set: { 'content-range': 'bytes 50000-249999/400000' } }, { code: 'CheckpointSourceError' }, 3],
    ['no entity tag', { kind: 'headers', set: { etag: null } }, { retryable: false, details: { code: 'Changed' } as never }, 1],
    ['101', SWITCHED, { code: 'CheckpointSourceError', retryable: false, details: { code: 'ProtocolSwitched' } as never }, 1],
    ['416', { kind: 'status', status: 416 }, { code: 'CheckpointSourceError', retryable: false, details: { code: 'Changed' } as never }, 1],
    ['429', { kind: 'status', status: 429 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    ['stalls before the headers', { kind: 'stall' }, { code: 'CheckpointTimeoutError', retryable: true }, 3],
    [
      '200 for a range',
      { kind: 'headers', set: { 'content-range': null }, status: 200 },
      { code: 'CheckpointSourceError', details: { code: 'RangeIgnored' } as never },
      3,
    ],
    [
      'a wrong Content-Range',
      { kind: 'headers', set: { 'content-range': 'bytes 0-199999/300000' } },
      { code: 'CheckpointSourceError', details: { code: 'WrongContentRange' } as never },
      3,
    ],
    [
      'ExpiredToken',
      { kind: 'status', status: 400, body: body.replace('SlowDown', 'ExpiredToken') },
      { code: 'CheckpointSourceError', retryable: true, details: { code: 'ExpiredToken', attempts: 3 } as never },
      3,
    ],
    [
      'a Retry-After longer than we wait',
      { kind: 'status', status: 503, headers: { 'retry-after': '120' } },
      { code: 'CheckpointSourceError', retryAfterMs: 120_000 },
      1,
    ],
  ];
  test.each(lasting)('%s always: a typed error, requests bounded', async (_, fault, expected, requests) => {
    const source = await open(policyFor(fault));
    proxy.reset();
    proxy.inject(always(fault));
    const error = await errorOf(source.read(50_000, 200_000));
    expect(error).toMatchObject(expected);
    expect(error.message).toContain(`s3://${bucket}/runs/last.ckpt`);
    expect(JSON.stringify([error.message, error.details, String(error.cause)])).not.toMatch(/test-secret|Signature=|Credential=/);
    expect(proxy.seen).toHaveLength(requests);
  });

  test('an answer that turns the connection to another protocol ends also what the SDK asks', async () => {
    proxy.inject(always(SWITCHED));
    const expected = { code: 'CheckpointSourceError', retryable: false, details: { code: 'ProtocolSwitched', status: 101, attempts: 1 } };
    expect(await errorOf(open())).toMatchObject(expected);
    expect(await errorOf(listed(port))).toMatchObject(expected);
  });

  test('416 to the first question is not a change: nothing was pinned', async () => {
    proxy.inject(always({ kind: 'status', status: 416 }));
    const error = await errorOf(open());
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { status: 416 } });
    expect(error.message).not.toContain('changed');
  });

  test('cancellation ends a stalled read at once', async () => {
    const source = await openS3(port, `s3://${bucket}/runs/last.ckpt`, RETRY);
    proxy.inject(always({ kind: 'stall', after: 1000 }));
    const controller = new AbortController();
    const reading = errorOf(source.read(0, 200_000, controller.signal) as Promise<unknown>);
    setTimeout(() => controller.abort(new Error('cancelled')), 100);
    expect((await reading).message).toBe('cancelled');
  });

  test('a store that nobody reaches', async () => {
    const nowhere = await connectS3({ buckets: ['*'], endpoint: 'http://127.0.0.1:9' });
    const error = await errorOf(openS3(nowhere, `s3://${bucket}/k`, QUICK));
    expect(error).toBeInstanceOf(CheckpointSourceError);
    expect(error).toMatchObject({ retryable: true, details: { code: 'ECONNREFUSED', attempts: 3, endpoint: 'http://127.0.0.1:9' } });
    nowhere.close();
  });

  test('a server whose certificate nobody knows: final, with what to do', async () => {
    const secure = createSecureServer(SELF_SIGNED, (_, answer) => answer.end());
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    const endpoint = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`;
    const of = await connectS3({ buckets: ['*'], endpoint });
    try {
      const pinned = openPinnedS3(of, { uri: `s3://${bucket}/k`, size: 10, identity: '"e"' }, QUICK);
      for (const asking of [openS3(of, `s3://${bucket}/k`, QUICK), pinned.read(0, 10), listed(of)]) {
        const error = await errorOf(asking);
        expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { endpoint, attempts: 1 } });
        expect(error.details['code']).toMatch(/SELF_SIGNED/);
        expect(error.message).toContain(`s3://${bucket}/`);
        expect(error.message).toContain('NODE_EXTRA_CA_CERTS');
      }
    } finally {
      of.close();
      await new Promise((resolve) => secure.close(resolve));
    }
  });

  test('TLS where there is none', async () => {
    const of = await connectS3({ buckets: ['*'], endpoint: proxy.url.replace('http:', 'https:') });
    const error = await errorOf(listed(of));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false });
    expect(error.message).toContain('`http://` is meant');
    of.close();
  });

  test.each([
    ['127.0.0.1:9000', ' `127.0.0.1:9000`'],
    ['minio.lab:9000', ' `minio.lab:9000`'],
    ['user:word@minio.lab', ''],
  ])('the endpoint %s of a variable, without its scheme', async (endpoint, shown) => {
    const saved = process.env['AWS_ENDPOINT_URL_S3'];
    process.env['AWS_ENDPOINT_URL_S3'] = endpoint;
    const of = await connectS3(null);
    try {
      for (const asking of [openS3(of, `s3://${bucket}/k`, QUICK), listed(of)]) {
        const error = await errorOf(asking);
        expect(error).toMatchObject({ code: 'CheckpointConfigError', retryable: false });
        expect(error.message).toContain(`The S3 endpoint${shown} is no URL that begins with http:// or https://. Write it as http://`);
      }
    } finally {
      process.env['AWS_ENDPOINT_URL_S3'] = saved;
      of.close();
    }
  });

  test('an endpoint that has no names for buckets', async () => {
    const of = await connectS3({ buckets: ['*'], endpoint: 'http://minio.invalid:9000' });
    const error = await errorOf(listed(of));
    expect(error.details).toMatchObject({ code: 'ENOTFOUND' });
    expect(error.message).toContain(
      `with \`path_style: true\` in the worker's storage settings, http://minio.invalid:9000/${bucket} is asked`,
    );
    of.close();
  });

  test('a profile that is not there is named', async () => {
    const of = await connectS3({ buckets: ['*'], endpoint: proxy.url, profile: 'absent' });
    const error = await errorOf(listed(of));
    expect(error).toMatchObject({ retryable: false, details: { code: 'NoCredentials' } });
    expect(error.message).toContain("The worker's storage settings name the AWS profile absent: give it keys");
    of.close();
  });
});
