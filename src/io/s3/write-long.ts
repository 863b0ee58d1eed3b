/** A text of unknown length as one object: a single PUT where it is short, else parts; nothing is there until all of it is. */
import type { RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { cleanupLimit, withGrace } from './grace.ts';
import { headOrNull } from './head.ts';
import { partSum } from './part-sum.ts';
import { patiently } from './patience.ts';
import type { S3Part, S3Port, S3Target } from './port.ts';

/** Bytes of a part: with ten thousand of them at most, 80 GB. */
const PART = 8 * 2 ** 20;

export interface LongText {
  readonly chunks: AsyncIterable<string>;
  /** Of this writing alone: where the last answer is lost, the text is known again by it. */
  readonly mark: string;
}

/** Gives the entity tag. Rejects with a `StoreFault`, and what was sent is taken away again. */
export async function writeLongS3(
  port: S3Port,
  target: S3Target,
  { chunks, mark }: LongText,
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
): Promise<string> {
  const asking = <T>(bytes: number, work: (inner: AbortSignal) => Promise<T>): Promise<T> => patiently(policy, signal, bytes, work);
  const parts: S3Part[] = [];
  let upload: string | null = null;
  try {
    for await (const { body, last } of bodies(chunks)) {
      if (last && upload === null)
        return await asking(body.length, (inner) => port.put(target, body, { mark, condition: { kind: 'any' } }, inner));
      const open: string = (upload ??= await asking(0, (inner) =>
        withGrace(inner, (late) => port.createUpload(target, { mark, sums: 'crc32' }, late)),
      ));
      const number = parts.length + 1;
      parts.push(await asking(body.length, (inner) => port.uploadPart(target, open, number, body, partSum('crc32', body), inner)));
    }
    // There was more than one piece.
    const open = upload!;
    return await asking(0, (inner) => port.completeUpload(target, open, parts, { kind: 'any' }, inner)).catch(async (error: unknown) => {
      if (!(error instanceof StoreFault) || error.code !== 'NoSuchUpload') throw error;
      // An answer that was lost: the upload is gone because it has become the object.
      const there = await headOrNull(port, target, policy, signal);
      if (there?.mark !== mark) throw error;
      return there.etag;
    });
  } catch (error) {
    const begun = upload;
    if (begun !== null)
      await patiently(policy, cleanupLimit(signal), 0, (inner) => port.abortUpload(target, begun, inner)).catch(() => undefined);
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
