/** The test server must be one: what the code relies on and fakes lack is seen here to work. */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { noise } from './memory-source.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from './s3-server.ts';

const MIB = 2 ** 20;
let server: S3TestServer;
let bucket: string;

beforeAll(async () => {
  server = await startS3Server();
  bucket = await server.bucket();
}, S3_SETUP_TIMEOUT);
afterAll(() => server?.close());

async function statusOf(request: Promise<unknown>): Promise<number> {
  return request.then(
    () => 200,
    (error: { $metadata?: { httpStatusCode?: number } }) => error.$metadata?.httpStatusCode ?? 0,
  );
}

test('If-Match on GET, If-None-Match and If-Match on PUT', async () => {
  const Key = 'conditions';
  const { ETag } = await server.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'first' }));
  const get = (IfMatch: string) => statusOf(server.client.send(new GetObjectCommand({ Bucket: bucket, Key, IfMatch, Range: 'bytes=0-1' })));
  expect(await get(ETag!)).toBe(200);
  expect(await statusOf(server.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'x', IfNoneMatch: '*' })))).toBe(412);
  expect(await statusOf(server.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'second', IfMatch: ETag })))).toBe(200);
  expect(await get(ETag!)).toBe(412);
});

test('ListParts, UploadPartCopy with CopySourceIfMatch, ListMultipartUploads', async () => {
  const bytes = noise(11 * MIB);
  const { ETag } = await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: 'source', Body: bytes }));
  const Key = 'assembled';
  const { UploadId } = await server.client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }));
  const upload = { Bucket: bucket, Key, UploadId };
  const copied = { ...upload, PartNumber: 1, CopySource: `${bucket}/source`, CopySourceRange: `bytes=${MIB}-${6 * MIB - 1}` };
  const mismatch = await statusOf(server.client.send(new UploadPartCopyCommand({ ...copied, CopySourceIfMatch: '"other"' })));
  // Not every store heeds it, so the sink looks at its sources again when all is copied.
  if (server.kind === 'moto') process.stderr.write(`s3: moto answered ${mismatch} to a CopySourceIfMatch that does not match\n`);
  else expect(mismatch).toBe(412);
  const first = await server.client.send(new UploadPartCopyCommand({ ...copied, CopySourceIfMatch: ETag }));
  const second = await server.client.send(new UploadPartCommand({ ...upload, PartNumber: 2, Body: bytes.subarray(0, MIB) }));
  const { Parts } = await server.client.send(new ListPartsCommand(upload));
  expect(Parts?.map(({ PartNumber, Size, ETag }) => [PartNumber, Size, ETag])).toEqual([
    [1, 5 * MIB, first.CopyPartResult?.ETag],
    [2, MIB, second.ETag],
  ]);
  const parts = Parts!.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
  await server.client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } }));
  const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key }));
  const expected = createHash('sha256')
    .update(bytes.subarray(MIB, 6 * MIB))
    .update(bytes.subarray(0, MIB))
    .digest('hex');
  expect(
    createHash('sha256')
      .update(await Body!.transformToByteArray())
      .digest('hex'),
  ).toBe(expected);

  const open = await server.client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: 'open' }));
  const listed = async () => (await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [];
  expect((await listed()).map(({ Key }) => Key)).toEqual(['open']);
  await server.client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: 'open', UploadId: open.UploadId }));
  expect(await listed()).toEqual([]);
});

test('versions of an object', async () => {
  const versioned = await server.bucket({ versioned: true });
  const put = (Body: string) => server.client.send(new PutObjectCommand({ Bucket: versioned, Key: 'k', Body }));
  const { VersionId } = await put('first');
  await put('second!');
  const head = await server.client.send(new HeadObjectCommand({ Bucket: versioned, Key: 'k', VersionId }));
  expect(VersionId).toBeDefined();
  expect(head.ContentLength).toBe(5);
});
