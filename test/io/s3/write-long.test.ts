/** Texts in parts to a store that stalls, loses answers, or is hung up on: what nobody waits for any more neither holds anybody nor stays. */
import { expect, test } from '@jest/globals';
import { RETRY, type RetryPolicy } from '../../../src/io/retry.ts';
import type { S3Port } from '../../../src/io/s3/port.ts';
import { writeLongS3 } from '../../../src/io/s3/write-long.ts';
import { StoreFault } from '../../../src/io/store-fault.ts';

const QUICK: RetryPolicy = { ...RETRY, tries: 2, pauseMs: 5 };

async function* pieces(): AsyncGenerator<string> {
  for (let index = 0; index < 3; index++) yield 'x'.repeat(9 * 2 ** 20);
}

/** What a writer of long texts uses of a store. */
function portOf(port: Partial<S3Port>): S3Port {
  return {
    createUpload: async () => 'upload',
    uploadPart: async (_target, _upload, number, { length: size }) => ({ number, size, etag: `"${number}"`, crc32: null }),
    completeUpload: async () => '"whole"',
    abortUpload: async () => undefined,
    ...port,
  } as S3Port;
}

function write(port: Partial<S3Port>, signal?: AbortSignal): Promise<string> {
  return writeLongS3(portOf(port), { bucket: 'b', key: 'k' }, { chunks: pieces(), mark: 'token/text' }, QUICK, signal);
}

/** Settles when the signal says so, as requests that nobody answers. */
function unanswered(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
}

test('cancelled while the store answers nothing any more, it ends', async () => {
  const controller = new AbortController();
  const aborted: (AbortSignal | undefined)[] = [];
  const writing = write(
    {
      uploadPart: (...args) => {
        controller.abort(new Error('cancelled'));
        return unanswered(args.at(-1) as AbortSignal);
      },
      abortUpload: (_target, _upload, limit) => {
        aborted.push(limit);
        return unanswered(limit);
      },
    },
    controller.signal,
  );
  await expect(writing).rejects.toThrow('cancelled');
  expect(aborted).toHaveLength(1);
});

test('cancelled while the store begins the upload, which it carries out all the same: it is aborted', async () => {
  const controller = new AbortController();
  const open = new Set<string>();
  const writing = write(
    {
      createUpload: async (_target, _about, signal) => {
        controller.abort(new Error('cancelled'));
        await new Promise((resolve) => setTimeout(resolve, 50));
        open.add('upload');
        signal?.throwIfAborted();
        return 'upload';
      },
      abortUpload: async (_target, upload) => void open.delete(upload),
    },
    controller.signal,
  );
  await expect(writing).rejects.toThrow('cancelled');
  expect(open).toEqual(new Set());
});

test.each([
  ['ours', 'token/text', true],
  ["somebody else's", 'other/text', false],
])('the answer to the last request is lost, and what is there is %s', async (_whose, mark, isOurs) => {
  let asked = 0;
  const writing = write({
    completeUpload: async () => {
      throw asked++ === 0
        ? new StoreFault('reset', { code: 'ECONNRESET', retryable: true })
        : new StoreFault('no such upload', { code: 'NoSuchUpload', status: 404, retryable: false });
    },
    head: async () => ({ size: 27 * 2 ** 20, etag: '"there"', versionId: null, mark, sha256: null }),
  });
  if (isOurs) expect(await writing).toBe('"there"');
  else await expect(writing).rejects.toMatchObject({ code: 'NoSuchUpload' });
});
