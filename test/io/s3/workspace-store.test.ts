/** A workspace in a real store: shared parts, and what is said where one is damaged or gone. */
import { DeleteObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createStorage } from '../../../src/io/storage/storage.ts';
import { openStoreWorkspace } from '../../../src/io/workspace/workspace-store.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../../support/s3-server.ts';

let server: S3TestServer;
let bucket: string;
beforeAll(async () => {
  server = await startS3Server();
  Object.assign(process.env, server.env);
  bucket = await server.bucket();
}, S3_SETUP_TIMEOUT);
afterAll(() => server?.close());

const keys = async (): Promise<readonly string[]> =>
  ((await server.client.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []).map(({ Key }) => Key!);

test('what values share lies there once; a part that is damaged or gone is named, and written anew', async () => {
  const names = Array.from({ length: 20_000 }, (_, index) => `blocks.${index}.attention.weight`);
  const workspace = openStoreWorkspace(`s3://${bucket}/workspace/`, createStorage());
  const first = await workspace.putJson({ names, a: 1 });
  const second = await workspace.putJson({ names: [...names], b: { names } });
  expect(await keys()).toHaveLength(3);
  expect(await workspace.getJson(first)).toEqual({ names, a: 1 });
  expect(await workspace.getJson(second)).toEqual({ names, b: { names } });

  const part = (await keys()).find((key) => !key.includes(first.sha256) && !key.includes(second.sha256))!;
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: part, Body: '["v",[]]' }));
  await expect(workspace.getJson(second)).rejects.toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining(part) });
  await server.client.send(new DeleteObjectCommand({ Bucket: bucket, Key: part }));
  await expect(workspace.getJson(second)).rejects.toMatchObject({
    code: 'CheckpointNotFoundError',
    message: expect.stringContaining(part),
  });
  await workspace.putJson({ names, c: 3 });
  expect(await workspace.getJson(second)).toEqual({ names, b: { names } });
});
