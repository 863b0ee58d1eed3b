/** A text of unknown length as one object: a single PUT where it is short, else parts; nothing is there until all of it is. */
import { crc32 } from 'node:zlib';
import { watched } from '../range-read.ts';
import { retrying, type RetryPolicy } from '../retry.ts';
import type { S3Part, S3Port, S3Target } from './port.ts';

/** Bytes of a part: with ten thousand of them at most, 80 GB. */
const PART = 8 * 2 ** 20;

/** Rejects with a `StoreFault`, and what was sent is taken away again. */
export async function writeLongS3(port: S3Port, target: S3Target, chunks: AsyncIterable<string>, policy: RetryPolicy): Promise<void> {
  const parts: S3Part[] = [];
  let upload: string | null = null;
  try {
    for await (const { body, last } of bodies(chunks)) {
      if (last && upload === null) {
        await retrying(policy, undefined, () => port.put(target, body, { mark: '', condition: { kind: 'any' } }));
        return;
      }
      const open: string = (upload ??= await retrying(policy, undefined, () => port.createUpload(target, '')));
      const number = parts.length + 1;
      const sum = checksum(body);
      const send = (signal: AbortSignal): Promise<S3Part> => port.uploadPart(target, open, number, body, sum, signal);
      parts.push(await retrying(policy, undefined, () => watched(policy.stallMs, undefined, ({ signal }) => send(signal))));
    }
    const open = upload!;
    await retrying(policy, undefined, () => port.completeUpload(target, open, parts, { kind: 'any' }));
  } catch (error) {
    if (upload !== null) await port.abortUpload(target, upload).catch(() => undefined);
    throw error;
  }
}

/** Pieces of a part's size, the last one of what is left. */
async function* bodies(chunks: AsyncIterable<string>): AsyncGenerator<{ readonly body: Uint8Array; readonly last: boolean }> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    if (size >= PART) {
      yield { body: Buffer.concat(held), last: false };
      [held, size] = [[], 0];
    }
    const bytes = Buffer.from(chunk);
    held.push(bytes);
    size += bytes.length;
  }
  yield { body: Buffer.concat(held), last: true };
}

function checksum(body: Uint8Array): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return bytes.toString('base64');
}
