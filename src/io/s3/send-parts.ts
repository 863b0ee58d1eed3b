/** Brings the parts of an upload into the store: made here and sent, or copied by the store itself. */
import { setMaxListeners } from 'node:events';
import type { Layout } from '../../formats/layout.ts';
import { sourceEndedBy, type ByteSource, type PinnedFile } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import { copyLayout, type Overflows, type TensorDigests } from '../copy.ts';
import { layoutRange } from '../layout-range.ts';
import { openFiles } from '../open-files.ts';
import type { PartMemory } from '../part-memory.ts';
import type { RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { changedError } from './explain.ts';
import { parseS3 } from './location.ts';
import { memberStarts } from './member-starts.ts';
import type { PlannedPart, SentParts } from './parts.ts';
import { isSame, partSum } from './part-sum.ts';
import { patiently } from './patience.ts';
import type { PartSums, S3Part, S3Port, S3Target } from './port.ts';
import { parseIdentity } from './source.ts';
import type { TakenUpload } from './upload.ts';

/** Parts that one transfer holds at most, those that are read and those that are sent: with all else, a worker stays below 256 MiB. */
export const PARTS_AT_ONCE = 5;
/** One is sent while the next is read. */
const PARTS_LEAST = 2;
/** Transfers for which the memory should do. */
const SHARES = 4;
/** Parts that one transfer makes and sends at a time beside copies: the store has enough to do, and each takes memory twice. */
const SENT_AT_ONCE = 2;
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
  readonly tensors: TensorDigests;
  readonly overflowed: Overflows;
}

/** Where nobody saw all the bytes. */
export const NO_DIGESTS: Digests = { sha256: null, tensors: [], overflowed: {} };

export interface PartSender {
  /** Sends a part, unless the store holds it already; `known`: its CRC-32. */
  send(part: PlannedPart, bytes: Uint8Array, signal: AbortSignal, known?: number): Promise<void>;
  /** True where the store holds a part that it was to copy: then it is done. */
  keep(part: PlannedPart): boolean;
  /** Has the store copy a part from that offset in its source. */
  copy(part: PlannedPart, offset: number, signal: AbortSignal): Promise<void>;
  /** Bytes that earlier attempts had brought. */
  kept(): number;
  /** What the store made of a part that is done. */
  done(part: PlannedPart): S3Part;
}

export function partSender(
  { port, policy, plan, onProgress }: Transfer,
  target: S3Target,
  { upload, parts: there }: TakenUpload,
  sums: PartSums,
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
    async send(part, bytes, signal, known) {
      const held = there.get(part.number);
      if (held !== undefined && held.size === part.length && isSame(held, bytes, known)) {
        kept += part.length;
        return finish(part, held);
      }
      const sum = partSum(sums, bytes, known);
      finish(
        part,
        await patiently(policy, signal, part.length, (inner) => port.uploadPart(target, upload, part.number, bytes, sum, inner)),
      );
    },
    keep(part) {
      const held = there.get(part.number);
      // The source is pinned, and the parts were cut alike: a part of that number and size is that copy.
      if (held === undefined || held.size !== part.length) return false;
      kept += part.length;
      finish(part, held);
      return true;
    },
    async copy(part, offset, signal) {
      const { uri, identity } = plan.files[part.copy!.file]!;
      const { etag, versionId } = parseIdentity(identity);
      const { bucket, key } = parseS3(uri);
      const from = { object: { bucket, key, versionId }, etag, offset, length: part.length };
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

/** All bytes pass through here: digests in flight, each part sent from the memory it was read into. */
export async function sendAll(
  { layout, plan, open, signal, memory }: Transfer,
  { length, parts }: SentParts,
  sender: PartSender,
): Promise<Digests> {
  const slots = Math.min(parts.length, slotsWithin(memory.limit, length));
  const { bytes, release } = await memory.take(slots * length, signal);
  const left = parts.values();
  try {
    const { sha256, tensors, overflowed } = await copyLayout({
      layout,
      plan,
      open,
      signal,
      memory: Array.from({ length: slots }, (_, slot) => bytes.subarray(slot * length, (slot + 1) * length)),
      // The parts were cut as the blocks are, and come in their order.
      write: (block, _, sum) => sender.send(left.next().value!, block, signal, sum),
      sums: true,
      onProgress: () => undefined,
    });
    return { sha256, tensors, overflowed };
  } finally {
    release();
  }
}

/** How many parts one transfer holds, from being read to being sent: other transfers have their share of the memory. */
function slotsWithin(limit: number, length: number): number {
  const share = Math.max(PARTS_LEAST, Math.floor(limit / SHARES / length));
  return Math.max(1, Math.min(PARTS_AT_ONCE, share, Math.floor(limit / length)));
}

/** The store copies what it can; the rest is made range by range. Nobody sees all bytes, so nothing is digested. */
export async function copyAndSend(transfer: Transfer, parts: readonly PlannedPart[], sender: PartSender): Promise<Digests> {
  const { layout, plan, open, memory, port, policy } = transfer;
  const stop = new AbortController();
  const signal = AbortSignal.any([transfer.signal, stop.signal]);
  // Every request under way listens.
  setMaxListeners(0, signal);
  const files = openFiles(plan.files, open);
  const fill = layoutRange(layout, plan, files);
  const starts = memberStarts(plan, async (file) => sourceEndedBy(signal, await files.source(file)));
  const copied = parts.filter((part) => part.copy !== null && !sender.keep(part));
  const copies = copied.entries();
  const sends = parts.filter(({ copy }) => copy === null).values();
  const copying = async (): Promise<void> => {
    for (const [index, part] of copies) {
      const start = await starts.of(part.copy!);
      // While this one is copied: the store never waits to hear where the next begins.
      const next = copied[index + COPIED_AT_ONCE];
      if (next !== undefined) starts.of(next.copy!).catch(() => undefined);
      signal.throwIfAborted();
      await sender.copy(part, start + part.copy!.offset, signal);
    }
  };
  const sending = async (): Promise<void> => {
    for (const part of sends) {
      signal.throwIfAborted();
      const { bytes, release } = await memory.take(part.length, signal);
      try {
        await fill(part.offset, bytes, signal);
        await sender.send(part, bytes, signal);
      } finally {
        release();
      }
    }
  };
  const work = [...Array.from({ length: SENT_AT_ONCE }, sending), ...Array.from({ length: COPIED_AT_ONCE }, copying)];
  for (const each of work) each.catch((error: unknown) => stop.abort(error));
  try {
    await Promise.allSettled(work);
    transfer.signal.throwIfAborted();
    if (stop.signal.aborted) throw stop.signal.reason;
  } finally {
    await starts.settled();
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
