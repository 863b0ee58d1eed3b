import { expect, test } from '@jest/globals';
import { partMemory } from '../../../src/io/part-memory.ts';
import { RETRY } from '../../../src/io/retry.ts';
import type { S3Port } from '../../../src/io/s3/port.ts';
import { partSender } from '../../../src/io/s3/send-parts.ts';

const COUNT = 1000;
const parts = Array.from({ length: COUNT }, (_, index) => ({ number: index + 1, offset: index * 10, length: 10, copy: null }));

test('a thousand parts within a moment are told of a few times, and at their end', async () => {
  // Of a store, a sender of parts uses this only.
  const port = {
    uploadPart: async (_: unknown, __: unknown, number: number) => ({ number, size: 10, etag: `"${number}"`, crc32: null }),
  } as unknown as S3Port;
  const told: { offset: number; parts: number }[] = [];
  const signal = new AbortController().signal;
  const layout = { format: 'safetensors', size: 10 * COUNT, tensors: [], segments: [] };
  const plan = { files: [], storages: [], tensors: [], frozen: [], skipped: [], dropped: [], metadata: {} };
  const sender = partSender(
    {
      port,
      policy: RETRY,
      memory: partMemory(100),
      layout,
      plan,
      open: () => Promise.reject(new Error('nothing is read')),
      onProgress: (progress) => told.push(progress),
      signal,
    },
    { bucket: 'b', key: 'k' },
    { upload: 'u', parts: new Map() },
    'md5',
  );
  for (const part of parts) await sender.send(part, new Uint8Array(10), signal);
  expect(told[0]).toMatchObject({ offset: 10, parts: 1 });
  expect(told.at(-1)).toMatchObject({ offset: 10 * COUNT, parts: COUNT });
  expect(told.length).toBeLessThan(100);
});
