/**
 * Publishing to an S3 store: a multipart upload that becomes the object all at once, or a single PUT where it is small.
 *
 * Parts are cut from the layout before the first byte is read, so that a later attempt, on whichever worker, goes on with the upload:
 * parts that the store lists and that hold what we would send are not sent again, nor is an output that an attempt completed before
 * it could say so. Invariant: a call that fails for good or is cancelled with its run aborts its upload; of one that was killed, or missed,
 * `discardS3` does so after the last attempt.
 */
import { createHash } from 'node:crypto';
import { copyLayout, type Overflows, type TensorDigests } from '../copy/copy.ts';
import { keepsProgress } from '../attempt-end.ts';
import { StoreFault } from '../store-fault.ts';
import { checkApart, conditionally, conditionFor, markOf, type Written } from './conditions.ts';
import { copyAndSend } from './copy-and-send.ts';
import { copyRuns } from './copy-runs.ts';
import { explainS3 } from './explain.ts';
import { cleanupLimit, withGrace } from './grace.ts';
import { headOrNull } from './head.ts';
import { parseS3 } from './location.ts';
import { planParts, sentParts, type Run } from './parts.ts';
import { patiently } from './patience.ts';
import type { S3Part, S3Target, WriteCondition } from './port.ts';
import { COPY_UNKNOWN, NO_DIGESTS, partSender, sendAll, type Digests, type PartSender, type Transfer } from './send-parts.ts';
import { discardS3, forgetUpload, takeUpload } from './upload.ts';

/** Outputs up to this size are one PUT. */
const WHOLE_MOST = 16 * 2 ** 20;

export interface S3PublishOptions extends Written, Transfer {
  /** Which of the plan's files the store can copy from; null: none. */
  readonly isNear: ((uri: string) => boolean) | null;
  readonly signal: AbortSignal;
  /** Milliseconds to clean up after a cancellation; default: as short as somebody waits for it. */
  readonly cleanupMs?: number;
}

export interface S3Published {
  /** Of the object, as the store said when it was written. */
  readonly etag: string;
  readonly size: number;
  /** Null where not all bytes passed through us. */
  readonly sha256: string | null;
  /** SHA-256 of tensors, by their index in the layout; of none where not all bytes passed. */
  readonly tensors: TensorDigests;
  /** Values beyond the range of the dtype they were cast to. */
  readonly overflowed: Overflows;
  /** Bytes that the store copied itself. */
  readonly copied: number;
  /** Bytes that earlier attempts had brought already. */
  readonly kept: number;
  /** What users should know of how it came there. */
  readonly warnings?: readonly string[];
}

export async function publishS3(options: S3PublishOptions): Promise<S3Published> {
  const { port, policy, uri, layout, plan, signal, token, cleanupMs } = options;
  const target = parseS3(uri);
  checkApart(uri, plan.files);
  try {
    const there = await headOrNull(port, target, policy, signal);
    const condition = conditionFor(options, there);
    const planned = planParts(runsOf(options));
    const copied = planned.reduce((sum, { copy, length }) => sum + (copy === null ? 0 : length), 0);
    const sent = copied > 0 ? null : sentParts(layout);
    const parts = sent?.parts ?? planned;
    if (layout.size <= WHOLE_MOST && copied === 0) return await putWhole(options, target, condition);
    const place = { port, policy, target, token, signal };
    if (there?.mark === markOf(options) && there.size === layout.size) {
      await forgetUpload(place);
      return { etag: there.etag, size: layout.size, ...(copied > 0 ? NO_DIGESTS : await digestAll(options)), copied, kept: layout.size };
    }
    const cut = createHash('sha256')
      .update(JSON.stringify([options.content, parts]))
      .digest('hex');
    const sums = sent === null ? 'md5' : 'crc32';
    const begin = async (): Promise<PartSender> =>
      partSender(options, target, await takeUpload(place, { cut, mark: markOf(options), sums }), sums);
    const began = sent === null ? copyAndSend(options, parts, begin) : begin();
    const digests = sent === null ? NO_DIGESTS : await sendAll(options, sent, began);
    const sender = await began;
    const etag = await complete(options, target, sender.upload, parts.map(sender.done), condition);
    await forgetUpload(place);
    return { etag, size: layout.size, ...digests, copied, kept: sender.kept() };
  } catch (error) {
    if (error instanceof StoreFault && error.code === COPY_UNKNOWN) return await passThrough(options, error);
    const explained = await explainedOf(error, options);
    if (!keepsProgress(signal, explained)) {
      await discardS3(port, uri, token, policy, cleanupLimit(signal, cleanupMs)).catch(() => undefined);
    }
    throw explained;
  }
}

async function explainedOf(error: unknown, { port, policy, uri, signal }: S3PublishOptions): Promise<unknown> {
  return error instanceof StoreFault ? explainS3(error, { port, location: parseS3(uri), doing: 'writing', policy, signal }) : error;
}

/** For a store that copies no parts: all bytes go through here, as they do between two stores. */
async function passThrough(options: S3PublishOptions, { status }: StoreFault): Promise<S3Published> {
  const { port, policy, uri, signal, token } = options;
  // It was cut for copies.
  await discardS3(port, uri, token, policy, signal).catch(async (error: unknown) => {
    throw await explainedOf(error, options);
  });
  const warning = `The store of s3://${parseS3(uri).bucket} copies no parts of objects (it answers ${status} to UploadPartCopy), so all bytes passed through the worker. \`server_side_copy: false\` spares the attempt.`;
  return { ...(await publishS3({ ...options, isNear: null })), warnings: [warning] };
}

function runsOf({ layout, plan, isNear }: S3PublishOptions): readonly Run[] {
  // A cast changes bytes wherever it stands; what is made range by range is made of stored bytes alone.
  const casts = layout.tensors.some(({ dtype, origin }) => dtype !== origin.dtype);
  if (isNear === null || casts) return [{ length: layout.size, copy: null }];
  const near = plan.files.map(({ uri }) => isNear(uri));
  return copyRuns(layout, plan, (file) => near[file]!);
}

/** Digests of an output that is there already. */
async function digestAll({ layout, plan, open, signal }: S3PublishOptions): Promise<Digests> {
  return copyLayout({ layout, plan, open, signal, write: async () => undefined, onProgress: () => undefined });
}

async function putWhole(options: S3PublishOptions, target: S3Target, condition: WriteCondition): Promise<S3Published> {
  const { port, policy, layout, plan, open, signal, memory } = options;
  const { bytes: whole, release } = await memory.take(layout.size, signal);
  try {
    const write = async (bytes: Uint8Array, offset: number): Promise<void> => whole.set(bytes, offset);
    const { sha256, tensors, overflowed } = await copyLayout({ layout, plan, open, signal, write, onProgress: () => undefined });
    signal.throwIfAborted();
    const etag = await conditionally(options, target, condition, (on) =>
      patiently(policy, signal, whole.length, (inner) =>
        withGrace(inner, (late) => port.put(target, whole, { mark: markOf(options), condition: on }, late)),
      ),
    );
    // It is there now, to be taken back.
    signal.throwIfAborted();
    return { etag, size: layout.size, sha256, tensors, overflowed, copied: 0, kept: 0 };
  } finally {
    release();
  }
}

async function complete(
  options: S3PublishOptions,
  target: S3Target,
  upload: string,
  parts: readonly S3Part[],
  condition: WriteCondition,
): Promise<string> {
  const { port, policy, signal, layout } = options;
  signal.throwIfAborted();
  // An output that is not there yet cannot be taken back.
  const etag = await withGrace(signal, (late) =>
    conditionally(options, target, condition, (on) =>
      patiently(policy, late, layout.size, (inner) => port.completeUpload(target, upload, parts, on, inner)),
    ).catch(async (error: unknown) => {
      if (!(error instanceof StoreFault) || error.code !== 'NoSuchUpload') throw error;
      // An answer that was lost: the upload is gone because it has become the object.
      const there = await headOrNull(port, target, policy, signal);
      if (there?.mark !== markOf(options) || there.size !== layout.size) throw error;
      return there.etag;
    }),
  );
  signal.throwIfAborted();
  return etag;
}
