/** Brings the parts of an upload into the store; those of an output that passes through here as a whole, in its order. */
import type { Layout } from '../../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import { copyLayout, type Overflows, type TensorDigests } from '../copy/copy.ts';
import type { PartMemory } from '../part-memory.ts';
import type { RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { changedError } from './explain.ts';
import { withGrace } from './grace.ts';
import { parseS3 } from './location.ts';
import { isSame, partSum } from './part-sum.ts';
import type { PlannedPart, SentParts } from './parts.ts';
import { patiently } from './patience.ts';
import type { PartSums, S3Part, S3Port, S3Target } from './port.ts';
import { parseIdentity } from './source.ts';
import type { TakenUpload } from './upload.ts';

/** Parts that one transfer holds at most, those that are read and those that are sent: with all else, a worker stays below 256 MiB. */
export const PARTS_AT_ONCE = 5;
/** One is sent while the next is read. */
const PARTS_LEAST = 2;
/** Least milliseconds between two reports of progress, each of which is a heartbeat: parts may be done a hundred times a second. */
const PROGRESS_EVERY = 250;
/** Transfers for which the memory should do. */
const SHARES = 4;

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

/** Faults that mean: the store copies no parts. */
export const COPY_UNKNOWN = 'CopyUnknown';

/** Where nobody saw all the bytes. */
export const NO_DIGESTS: Digests = { sha256: null, tensors: [], overflowed: {} };

export interface PartSender {
  readonly upload: string;
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
  { port, policy, layout, plan, onProgress }: Transfer,
  target: S3Target,
  { upload, parts: there }: TakenUpload,
  sums: PartSums,
): PartSender {
  const done = new Map<number, S3Part>();
  let kept = 0;
  let offset = 0;
  let told = 0;
  const finish = (part: PlannedPart, held: S3Part): void => {
    done.set(part.number, held);
    offset += part.length;
    if (offset < layout.size && Date.now() - told < PROGRESS_EVERY) return;
    told = Date.now();
    onProgress({ offset, upload_id: upload, parts: done.size });
  };
  return {
    upload,
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
      // A copy that comes after its upload was aborted would open it again.
      const copied = await patiently(policy, signal, part.length, (inner) =>
        withGrace(inner, (late) => port.copyPart(target, upload, part.number, from, late)),
      ).catch((error: unknown) => {
        if (!(error instanceof StoreFault)) throw error;
        if (error.status === 412) throw changedError(uri, 'the store refused to copy from it');
        if (error.status !== 501 && error.code !== 'NotImplemented') throw error;
        const { message, status } = error;
        throw new StoreFault(message, { code: COPY_UNKNOWN, status, retryable: false, cause: error });
      });
      finish(part, copied);
    },
  };
}

/**
 * All bytes pass through here: digests in flight, each part sent from the memory it was read into. The first are read while the upload
 * is begun, for which the `sender` waits; it has settled when this has.
 */
export async function sendAll(
  { layout, plan, open, signal, memory }: Transfer,
  { length, parts }: SentParts,
  sender: Promise<PartSender>,
): Promise<Digests> {
  // The first part that is to be sent finds it.
  sender.catch(() => undefined);
  const slots = Math.min(parts.length, slotsWithin(memory.limit, length));
  const left = parts.values();
  let release: (() => void) | undefined;
  try {
    const taken = await memory.take(slots * length, signal);
    release = taken.release;
    const { sha256, tensors, overflowed } = await copyLayout({
      layout,
      plan,
      open,
      signal,
      memory: Array.from({ length: slots }, (_, slot) => taken.bytes.subarray(slot * length, (slot + 1) * length)),
      // The parts were cut as the blocks are, and come in their order.
      write: (block, _, sum) => {
        const part = left.next().value!;
        return sender.then(({ send }) => send(part, block, signal, sum));
      },
      sums: true,
      onProgress: () => undefined,
    });
    return { sha256, tensors, overflowed };
  } finally {
    release?.();
    await Promise.allSettled([sender]);
  }
}

/** How many parts one transfer holds, from being read to being sent: other transfers have their share of the memory. */
function slotsWithin(limit: number, length: number): number {
  const share = Math.max(PARTS_LEAST, Math.floor(limit / SHARES / length));
  return Math.max(1, Math.min(PARTS_AT_ONCE, share, Math.floor(limit / length)));
}
