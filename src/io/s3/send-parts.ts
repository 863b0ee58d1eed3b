/** Brings the parts of an upload into the store: made here and sent, or copied by the store itself. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Layout } from '../../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import { copyLayout, type Overflows } from '../copy.ts';
import { layoutRange } from '../layout-range.ts';
import { openFiles } from '../open-files.ts';
import type { Part, PartMemory } from '../part-memory.ts';
import type { RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { changedError } from './explain.ts';
import { parseS3 } from './location.ts';
import type { PlannedPart } from './parts.ts';
import { patiently } from './patience.ts';
import type { S3Part, S3Port, S3Target } from './port.ts';
import { parseIdentity } from './source.ts';
import type { TakenUpload } from './upload.ts';

/** Parts that one transfer sends at a time. */
export const SENT_AT_ONCE = 4;
/** Parts that one transfer lets the store copy at a time. */
const COPIED_AT_ONCE = 16;

export interface Transfer {
  readonly port: S3Port;
  readonly policy: RetryPolicy;
  readonly memory: PartMemory;
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  readonly onProgress: (progress: { readonly offset: number; readonly upload_id: string; readonly parts: number }) => void;
  readonly signal: AbortSignal;
}

export interface Digests {
  readonly sha256: string | null;
  readonly tensors: ReadonlyMap<number, string>;
  readonly overflowed: Overflows;
}

/** Where nobody saw all the bytes. */
export const NO_DIGESTS: Digests = { sha256: null, tensors: new Map(), overflowed: {} };

export interface PartSender {
  /** Sends a part, unless the store holds it already. */
  send(part: PlannedPart, bytes: Uint8Array, signal: AbortSignal): Promise<void>;
  copy(part: PlannedPart, signal: AbortSignal): Promise<void>;
  /** Bytes that earlier attempts had brought. */
  kept(): number;
  /** What the store made of a part that is done. */
  done(part: PlannedPart): S3Part;
}

export function partSender(
  { port, policy, plan, onProgress }: Transfer,
  target: S3Target,
  { upload, parts: there }: TakenUpload,
): PartSender {
  const done = new Map<number, S3Part>();
  let kept = 0;
  let offset = 0;
  const finish = (part: PlannedPart, held: S3Part): void => {
    done.set(part.number, held);
    offset += part.length;
    onProgress({ offset, upload_id: upload, parts: done.size });
  };
  return {
    kept: () => kept,
    done: ({ number }) => done.get(number)!,
    async send(part, bytes, signal) {
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
    async copy(part, signal) {
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
export async function sendAll(transfer: Transfer, parts: readonly PlannedPart[], sender: PartSender): Promise<Digests> {
  const { layout, plan, open, signal, memory } = transfer;
  const sending = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  let index = 0;
  let filling: Part | undefined;
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

  async function room(length: number): Promise<Part> {
    while (sending.size >= SENT_AT_ONCE) await Promise.race(sending);
    return memory.take(length, signal);
  }

  function start(part: PlannedPart, { bytes, release }: Part): void {
    const work: Promise<void> = sender
      .send(part, bytes, signal)
      .catch((error: unknown) => void (failure ??= { error }))
      .finally(() => {
        release();
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
export async function copyAndSend(transfer: Transfer, parts: readonly PlannedPart[], sender: PartSender): Promise<Digests> {
  const { layout, plan, open, memory, port, policy } = transfer;
  const stop = new AbortController();
  const signal = AbortSignal.any([transfer.signal, stop.signal]);
  const files = openFiles(plan.files, open);
  const fill = layoutRange(layout, plan, files.source);
  const copies = parts.filter(({ copy }) => copy !== null).values();
  const sends = parts.filter(({ copy }) => copy === null).values();
  const sending = new Set<Promise<void>>();

  const copying = async (): Promise<void> => {
    for (const part of copies) {
      signal.throwIfAborted();
      await sender.copy(part, signal);
    }
  };
  const filling = async (): Promise<void> => {
    for (const part of sends) {
      while (sending.size >= SENT_AT_ONCE) await Promise.race(sending);
      signal.throwIfAborted();
      const { bytes, release } = await memory.take(part.length, signal);
      await fill(part.offset, bytes, signal).catch((error: unknown) => {
        release();
        throw error;
      });
      const work: Promise<void> = sender.send(part, bytes, signal).finally(() => {
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
    transfer.signal.throwIfAborted();
    if (stop.signal.aborted) throw stop.signal.reason;
  } finally {
    await files.close();
  }
  // Some stores do not heed the condition of a copy: the sources must still be what was pinned.
  for (const file of new Set(parts.flatMap(({ copy }) => (copy === null ? [] : [copy.file])))) {
    const { uri, identity } = plan.files[file]!;
    const { etag, versionId } = parseIdentity(identity);
    const { bucket, key } = parseS3(uri);
    const now = await patiently(policy, transfer.signal, 0, (inner) => port.head({ bucket, key, versionId }, { checksum: false }, inner));
    if (now.etag !== etag) throw changedError(uri, `its entity tag is ${now.etag}, expected ${etag}`);
  }
  return NO_DIGESTS;
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
