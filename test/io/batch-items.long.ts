/** Items of a batch that lie in an S3 store, more than it tells of at a time. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { listItems } from '../../src/io/batch-items.ts';
import { destinationOf } from '../../src/io/publish/destination.ts';
import { createStorage } from '../../src/io/storage/storage.ts';
import type { BatchItem, BatchItems } from '../../src/pipeline/batch.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';

async function listed(items: BatchItems, storage = createStorage()): Promise<readonly BatchItem[]> {
  const found: BatchItem[] = [];
  for await (const item of listItems(items, { storage, own: async () => null, signal: new AbortController().signal })) found.push(item);
  return found;
}

let server: S3TestServer;
const before = { ...process.env };
beforeAll(async () => {
  server = await startS3Server();
  Object.assign(process.env, server.env);
}, S3_SETUP_TIMEOUT);
afterAll(async () => {
  for (const name of Object.keys(server?.env ?? {})) delete process.env[name];
  Object.assign(process.env, before);
  await server?.close();
});

test('a prefix of more than two pages, and a long text in parts', async () => {
  const storage = createStorage();
  const bucket = await server.bucket();
  const files = destinationOf(storage, `s3://${bucket}/x`);
  const keys = Array.from({ length: 2100 }, (_, index) => `runs/${String(index).padStart(5, '0')}.pt`);
  for (let at = 0; at < keys.length; at += 50)
    await Promise.all(keys.slice(at, at + 50).map((key) => files.write(`s3://${bucket}/${key}`, 'x')));
  await files.write(`s3://${bucket}/runs-of-others/1.pt`, 'x');
  const found = await listed({ uri: `s3://${bucket}/runs` }, storage);
  expect(found.map(({ uri }) => uri)).toEqual(keys.map((key) => `s3://${bucket}/${key}`));
  expect(found[7]!.key).toBe('00007.pt');
  for (const whole of [`s3://${bucket}`, `s3://${bucket}/`]) {
    const all = await listed({ uri: whole }, storage);
    expect(all).toHaveLength(2101);
    expect(all.at(-1)).toMatchObject({ uri: `s3://${bucket}/runs/02099.pt`, key: 'runs/02099.pt' });
  }

  async function* long(): AsyncGenerator<string> {
    for (let index = 0; index < 20_000; index++) yield `${String(index).padStart(6, '0')}${'é'.repeat(500)}\n`;
  }
  await files.writeLong(`s3://${bucket}/long.txt`, long());
  const lines = (await files.read(`s3://${bucket}/long.txt`))!.trim().split('\n');
  expect(lines).toHaveLength(20_000);
  expect(lines.at(-1)!.slice(0, 6)).toBe('019999');
  await files.writeLong(`s3://${bucket}/short.txt`, (async function* () {})());
  expect(await files.read(`s3://${bucket}/short.txt`)).toBe('');
  await expect(
    files.writeLong(
      `s3://${bucket}/cut.txt`,
      (async function* () {
        yield 'x'.repeat(9 * 2 ** 20);
        yield 'y';
        throw new Error('the parts are gone');
      })(),
    ),
  ).rejects.toThrow('the parts are gone');
  expect(await files.read(`s3://${bucket}/cut.txt`)).toBeNull();
  storage.close();
}, 300_000);
