/**
 * Publishing to an S3 store: a multipart upload that becomes the object all at once, or a single PUT where it is small.
 *
 * Parts are cut from the layout before the first byte is read. The id of the upload lies in a small object beside the output, so that a
 * later attempt, on whichever worker, goes on with it: parts that the store lists and that hold what we would send are not sent
 * again. Invariant: a call that fails for good or is cancelled aborts its upload; of one that was killed `discardS3` does so.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { CheckpointConfigError, CheckpointSourceError, isCheckpointError } from '../../errors.ts';
import type { Layout } from '../../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import type { ByteBudget } from '../byte-budget.ts';
import { copyLayout, type Overflows } from '../copy.ts';
import { layoutRange } from '../layout-range.ts';
import { openFiles } from '../open-files.ts';
import { watched } from '../range-read.ts';
import { retrying, type RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { copyRuns } from './copy-runs.ts';
import { changedError, explainS3 } from './explain.ts';
import { isS3, parseS3, s3Uri } from './location.ts';
import { PART, planParts, type PlannedPart } from './parts.ts';
import type { S3Head, S3Part, S3Port, S3Target, WriteCondition } from './port.ts';
import { parseIdentity, readSmallS3 } from './source.ts';

/** Parts that one transfer sends at a time. */
const SENT_AT_ONCE = 4;
/** Parts that one transfer lets the store copy at a time. */
const COPIED_AT_ONCE = 8;
/** Bytes per second below which sending or copying a part counts as stalled. */
const LEAST_RATE = 256 * 1024;

export type Overwrite = 'never' | 'if_changed' | 'always';

export interface S3PublishOptions {
  readonly port: S3Port;
  readonly policy: RetryPolicy;
  readonly budget: ByteBudget;
  readonly uri: string;
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  /** Marks what this stage of this run writes. */
  readonly token: string;
  readonly overwrite: Overwrite;
  /** Which of the plan's files the store can copy from; null: none. */
  readonly isNear: ((uri: string) => boolean) | null;
  readonly onProgress: (progress: { readonly offset: number; readonly upload_id: string; readonly parts: number }) => void;
  readonly signal: AbortSignal;
}

export interface S3Published {
  readonly size: number;
  /** Null where not all bytes passed through us. */
  readonly sha256: string | null;
  /** SHA-256 of tensors, by their index in the layout; of none where not all bytes passed. */
  readonly tensors: ReadonlyMap<number, string>;
  /** Values beyond the range of the dtype they were cast to. */
  readonly overflowed: Overflows;
  /** Bytes that the store copied itself. */
  readonly copied: number;
  /** Bytes that parts of earlier attempts had brought already. */
  readonly kept: number;
}

interface Digests {
  readonly sha256: string | null;
  readonly tensors: ReadonlyMap<number, string>;
  readonly overflowed: Overflows;
}

export async function publishS3(options: S3PublishOptions): Promise<S3Published> {
  const { port, policy, uri, layout, plan, signal, token } = options;
  const target = parseS3(uri);
  if (plan.files.some((file) => isS3(file.uri) && s3Uri(parseS3(file.uri)) === s3Uri(target)))
    throw new CheckpointConfigError(`${uri} is the source itself: publishing over it would destroy it. Choose another \`uri\`.`);
  let upload: string | undefined;
  try {
    const condition = conditionFor(options, await headOrNull(port, target, policy, signal));
    const parts = planParts(await runsOf(options));
    if (layout.size <= PART && parts.every(({ copy }) => copy === null)) return await putWhole(options, target, condition);
    const cut = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
    const taken = await takeUpload(options, target, cut);
    upload = taken.upload;
    const transfer = new Map<number, S3Part>();
    const sender = partSender(options, target, upload, taken.parts, transfer);
    const copied = parts.reduce((sum, { copy, length }) => sum + (copy === null ? 0 : length), 0);
    const digests = copied > 0 ? await copyAndSend(options, parts, sender) : await sendAll(options, parts, sender);
    await complete(
      options,
      target,
      upload,
      parts.map(({ number }) => transfer.get(number)!),
      condition,
    );
    await port.remove(markerOf(target, token));
    return { size: layout.size, ...digests, copied, kept: sender.kept() };
  } catch (error) {
    const explained =
      error instanceof StoreFault
        ? await explainS3(error, { port, location: target, doing: 'writing', permission: 's3:PutObject', policy })
        : error;
    // What may be tried again goes on from here; after the last attempt the run discards it.
    const goesOn = signal.aborted ? isShutdown(signal) : !(isCheckpointError(explained) && !explained.retryable);
    if (!goesOn) await discardS3(port, uri, token, upload).catch(() => undefined);
    throw explained;
  }
}

/** Aborts the upload that attempts of a stage left open; none there is fine. */
export async function discardS3(port: S3Port, uri: string, token: string, upload?: string): Promise<void> {
  const target = parseS3(uri);
  const marker = markerOf(target, token);
  const open = upload ?? (await readMarker(port, marker))?.upload;
  if (open !== undefined) await port.abortUpload(target, open).catch(unlessGone);
  await port.remove(marker).catch(unlessGone);
}

function conditionFor({ overwrite, token, uri }: S3PublishOptions, there: S3Head | null): WriteCondition {
  if (there === null) return overwrite === 'always' ? { kind: 'any' } : { kind: 'none' };
  if (overwrite === 'always') return { kind: 'any' };
  // An attempt before this one had got so far, and no further.
  if (overwrite === 'never' && there.mark !== token) throw exists(uri);
  return { kind: 'match', etag: there.etag };
}

function exists(uri: string): CheckpointConfigError {
  return new CheckpointConfigError(`${uri} exists, and \`overwrite\` is never. Choose another \`uri\`, or remove it first.`, undefined, {
    details: { reason: 'exists' },
  });
}

async function runsOf({ layout, plan, open, isNear }: S3PublishOptions) {
  // A cast changes bytes wherever it stands; what is made range by range is made of stored bytes alone.
  const casts = layout.tensors.some(({ dtype, origin }) => dtype !== origin.dtype);
  if (isNear === null || casts || !plan.files.some(({ uri }) => isNear(uri))) return [{ length: layout.size, copy: null }];
  const files = openFiles(plan.files, open);
  try {
    return await copyRuns(layout, plan, (file) => isNear(plan.files[file]!.uri), files.source);
  } finally {
    await files.close();
  }
}

/** The upload of an earlier attempt of this stage, if it is open and was cut alike; else a new one. */
async function takeUpload(
  { port, policy, token, signal }: S3PublishOptions,
  target: S3Target,
  cut: string,
): Promise<{ readonly upload: string; readonly parts: ReadonlyMap<number, S3Part> }> {
  const marker = markerOf(target, token);
  const left = await readMarker(port, marker);
  if (left !== null) {
    const parts = await patiently(policy, signal, 0, (inner) => port.listParts(target, left.upload, inner)).catch((error: unknown) => {
      if (error instanceof StoreFault && error.status === 404) return null;
      throw error;
    });
    if (parts !== null && left.cut === cut) return { upload: left.upload, parts: new Map(parts.map((part) => [part.number, part])) };
    if (parts !== null) await port.abortUpload(target, left.upload).catch(unlessGone);
  }
  const upload = await patiently(policy, signal, 0, (inner) => port.createUpload(target, token, inner));
  try {
    const text = new TextEncoder().encode(JSON.stringify({ upload, cut }));
    await patiently(policy, signal, 0, (inner) => port.put(marker, text, { mark: token, condition: { kind: 'any' } }, inner));
  } catch (error) {
    await port.abortUpload(target, upload).catch(() => undefined);
    throw error;
  }
  return { upload, parts: new Map() };
}

interface PartSender {
  /** Sends a part, unless the store holds it already. */
  send(part: PlannedPart, bytes: Uint8Array): Promise<void>;
  copy(part: PlannedPart): Promise<void>;
  /** Bytes that earlier attempts had brought. */
  kept(): number;
}

function partSender(
  options: S3PublishOptions,
  target: S3Target,
  upload: string,
  there: ReadonlyMap<number, S3Part>,
  transfer: Map<number, S3Part>,
): PartSender {
  const { port, policy, plan, signal, onProgress } = options;
  let kept = 0;
  let offset = 0;
  const finish = (part: PlannedPart, held: S3Part): void => {
    transfer.set(part.number, held);
    offset += part.length;
    onProgress({ offset, upload_id: upload, parts: transfer.size });
  };
  return {
    kept: () => kept,
    async send(part, bytes) {
      const sum = base64OfCrc(crc32(bytes));
      const held = there.get(part.number);
      if (held !== undefined && held.size === part.length && isSame(held, sum, bytes)) {
        kept += part.length;
        return finish(part, held);
      }
      finish(
        part,
        await patiently(policy, signal, part.length, (inner) => port.uploadPart(target, upload, part.number, bytes, sum, inner)),
      );
    },
    async copy(part) {
      const held = there.get(part.number);
      // The source is pinned, and the parts were cut alike: a part of that number and size is that copy.
      if (held !== undefined && held.size === part.length) {
        kept += part.length;
        return finish(part, held);
      }
      const { uri, identity } = plan.files[part.copy!.file]!;
      const { etag, versionId } = parseIdentity(identity);
      const { bucket, key } = parseS3(uri);
      const from = { object: { bucket, key, versionId }, etag, offset: part.copy!.offset, length: part.length };
      const copied = await patiently(policy, signal, part.length, (inner) => port.copyPart(target, upload, part.number, from, inner)).catch(
        (error: unknown) => {
          if (error instanceof StoreFault && error.status === 412) throw changedError(uri, 'the store refused to copy from it');
          throw error;
        },
      );
      finish(part, copied);
    },
  };
}

/** All bytes pass through here: digests in flight, parts sent as they fill. */
async function sendAll(options: S3PublishOptions, parts: readonly PlannedPart[], sender: PartSender): Promise<Digests> {
  const { layout, plan, open, signal, budget } = options;
  const sending = new Set<Promise<void>>();
  const spare: Uint8Array[] = [];
  let failure: { readonly error: unknown } | undefined;
  let index = 0;
  let filling: { readonly bytes: Uint8Array; readonly release: () => void } | undefined;
  let filled = 0;

  async function append(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      if (failure !== undefined) throw failure.error;
      const part = parts[index]!;
      filling ??= await room(part.length);
      const taken = Math.min(bytes.length - done, part.length - filled);
      filling.bytes.set(bytes.subarray(done, done + taken), filled);
      done += taken;
      filled += taken;
      if (filled < part.length) continue;
      start(part, filling);
      filling = undefined;
      filled = 0;
      index++;
    }
  }

  async function room(length: number): Promise<{ readonly bytes: Uint8Array; readonly release: () => void }> {
    while (sending.size >= SENT_AT_ONCE) await Promise.race(sending);
    const release = await budget.take(length, signal);
    const known = spare.findIndex((each) => each.length === length);
    return { bytes: known < 0 ? new Uint8Array(length) : spare.splice(known, 1)[0]!, release };
  }

  function start(part: PlannedPart, { bytes, release }: { readonly bytes: Uint8Array; readonly release: () => void }): void {
    const work: Promise<void> = sender
      .send(part, bytes)
      .catch((error: unknown) => void (failure ??= { error }))
      .finally(() => {
        release();
        if (spare.length < SENT_AT_ONCE) spare.push(bytes);
        sending.delete(work);
      });
    sending.add(work);
  }

  // Blocks come in order, several at a time: each waits for the one before it.
  let before = Promise.resolve();
  const copied = await copyLayout({
    layout,
    plan,
    open,
    signal,
    write: (bytes) => {
      before = before.then(() => append(bytes));
      return before;
    },
    onProgress: () => undefined,
  }).catch((error: unknown) => void (failure ??= { error }));
  await Promise.all(sending);
  filling?.release();
  // Of a part, or of what it was to be made from.
  if (failure !== undefined) throw failure.error;
  // Without a failure it is there.
  const { sha256, tensors, overflowed } = copied!;
  return { sha256, tensors, overflowed };
}

/** The store copies what it can; the rest is made range by range. Nobody sees all bytes, so nothing is digested. */
async function copyAndSend(options: S3PublishOptions, parts: readonly PlannedPart[], sender: PartSender): Promise<Digests> {
  const { layout, plan, open, budget, port, policy } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const files = openFiles(plan.files, open);
  const fill = layoutRange(layout, plan, files.source);
  const copies = parts.filter(({ copy }) => copy !== null).values();
  const sends = parts.filter(({ copy }) => copy === null).values();
  const sending = new Set<Promise<void>>();

  const copying = async (): Promise<void> => {
    for (const part of copies) {
      signal.throwIfAborted();
      await sender.copy(part);
    }
  };
  const filling = async (): Promise<void> => {
    for (const part of sends) {
      while (sending.size >= SENT_AT_ONCE) await Promise.race(sending);
      signal.throwIfAborted();
      const release = await budget.take(part.length, signal);
      const bytes = new Uint8Array(part.length);
      await fill(part.offset, bytes, signal).catch((error: unknown) => {
        release();
        throw error;
      });
      const work: Promise<void> = sender.send(part, bytes).finally(() => {
        release();
        sending.delete(work);
      });
      work.catch((error: unknown) => stop.abort(error));
      sending.add(work);
    }
    await Promise.all(sending);
  };
  const work = [filling(), ...Array.from({ length: COPIED_AT_ONCE }, copying)];
  for (const each of work) each.catch((error: unknown) => stop.abort(error));
  try {
    await Promise.allSettled(work);
    await Promise.allSettled(sending);
    options.signal.throwIfAborted();
    if (stop.signal.aborted) throw stop.signal.reason;
  } finally {
    await files.close();
  }
  // Some stores do not heed the condition of a copy: the sources must still be what was pinned.
  for (const file of new Set(parts.flatMap(({ copy }) => (copy === null ? [] : [copy.file])))) {
    const { uri, identity } = plan.files[file]!;
    const { etag, versionId } = parseIdentity(identity);
    const { bucket, key } = parseS3(uri);
    const now = await patiently(policy, options.signal, 0, (inner) => port.head({ bucket, key, versionId }, { checksum: false }, inner));
    if (now.etag !== etag) throw changedError(uri, `its entity tag is ${now.etag}, expected ${etag}`);
  }
  return { sha256: null, tensors: new Map(), overflowed: {} };
}

async function putWhole(options: S3PublishOptions, target: S3Target, condition: WriteCondition): Promise<S3Published> {
  const { port, policy, layout, plan, open, signal, token, budget } = options;
  const release = await budget.take(layout.size, signal);
  try {
    const whole = new Uint8Array(layout.size);
    const write = async (bytes: Uint8Array, offset: number): Promise<void> => whole.set(bytes, offset);
    const { sha256, tensors, overflowed } = await copyLayout({ layout, plan, open, signal, write, onProgress: () => undefined });
    signal.throwIfAborted();
    await conditionally(options, target, condition, (on) =>
      patiently(policy, signal, whole.length, (inner) => port.put(target, whole, { mark: token, condition: on }, inner)),
    );
    return { size: layout.size, sha256, tensors, overflowed, copied: 0, kept: 0 };
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
): Promise<void> {
  const { port, policy, signal, token, layout } = options;
  signal.throwIfAborted();
  await conditionally(options, target, condition, (on) =>
    patiently(policy, signal, layout.size, (inner) => port.completeUpload(target, upload, parts, on, inner)),
  ).catch(async (error: unknown) => {
    if (!(error instanceof StoreFault) || error.code !== 'NoSuchUpload') throw error;
    // An answer that was lost: the upload is gone because it has become the object.
    const there = await headOrNull(port, target, policy, signal);
    if (there?.mark !== token || there.size !== layout.size) throw error;
  });
}

/** Writes on a condition; a store that knows none is looked at once more before it is written without. */
async function conditionally(
  { port, policy, signal, uri, overwrite, token }: S3PublishOptions,
  target: S3Target,
  condition: WriteCondition,
  write: (condition: WriteCondition) => Promise<string>,
): Promise<void> {
  try {
    await write(condition);
  } catch (error) {
    if (!(error instanceof StoreFault)) throw error;
    if (error.status === 501 && condition.kind !== 'any') {
      const there = await headOrNull(port, target, policy, signal);
      if ((there?.etag ?? null) === (condition.kind === 'match' ? condition.etag : null)) return void (await write({ kind: 'any' }));
    } else if (error.status !== 412 && error.status !== 409 && !(error.status === 404 && error.code === 'NoSuchKey')) throw error;
    // A write of ours whose answer was lost meets its own object.
    if ((await headOrNull(port, target, policy, signal))?.mark === token) return;
    if (overwrite === 'never') throw exists(uri);
    throw new CheckpointSourceError(
      `${uri} was written by somebody else while it was being published; theirs was kept. Run the pipeline again, or give each run its own \`uri\`.`,
      uri,
      { retryable: false, cause: error, details: { reason: 'concurrent_write' } },
    );
  }
}

async function headOrNull(port: S3Port, target: S3Target, policy: RetryPolicy, signal: AbortSignal): Promise<S3Head | null> {
  return patiently(policy, signal, 0, (inner) => port.head({ ...target, versionId: null }, { checksum: false }, inner)).catch(
    (error: unknown) => {
      if (error instanceof StoreFault && error.status === 404 && error.code !== 'NoSuchBucket') return null;
      throw error;
    },
  );
}

/** Tries again as the policy says; an exchange of so many bytes has the time that they take at the least rate. */
function patiently<T>(policy: RetryPolicy, signal: AbortSignal, bytes: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const patience = policy.stallMs + (bytes / LEAST_RATE) * 1000;
  return retrying(policy, signal, () => watched(patience, signal, (watch) => work(watch.signal)));
}

interface Marker {
  readonly upload: string;
  readonly cut: string;
}

/** Named as the partial files of local outputs are. */
function markerOf({ bucket, key }: S3Target, token: string): S3Target {
  const slash = key.lastIndexOf('/') + 1;
  return { bucket, key: `${key.slice(0, slash)}.${key.slice(slash)}.${token}.partial` };
}

async function readMarker(port: S3Port, marker: S3Target): Promise<Marker | null> {
  const text = await readSmallS3(port, marker);
  if (text === null) return null;
  // Written by this module alone; what is broken is as good as none.
  const { upload, cut } = JSON.parse(text) as Partial<Marker>;
  return typeof upload === 'string' && typeof cut === 'string' ? { upload, cut } : null;
}

function isSame({ crc32: sum, etag }: S3Part, expected: string, bytes: Uint8Array): boolean {
  if (sum !== null) return sum === expected;
  return etag.replace(/"/g, '') === createHash('md5').update(bytes).digest('hex');
}

function base64OfCrc(sum: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString('base64');
}

function unlessGone(error: unknown): void {
  if (error instanceof StoreFault && error.status === 404) return;
  throw error;
}

/** True where the worker stops and another one is to go on. */
function isShutdown(signal: AbortSignal): boolean {
  return signal.reason instanceof Error && signal.reason.message === 'WORKER_SHUTDOWN';
}
