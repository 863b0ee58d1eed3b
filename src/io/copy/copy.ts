/**
 * Walks a layout into a sink: one pass, a few blocks of memory, digests in flight.
 *
 * The next blocks are read while earlier ones are digested and written. Every range of the output can be made on its own, so a
 * transfer may go on where an interrupted one stopped. Invariant: when the promise settles, nothing of the transfer runs any more.
 */
import { setMaxListeners } from 'node:events';
import type { Layout } from '../../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import { JOIN_FROM, joinCrc32 } from '../digests/crc32-join.ts';
import { crc32Of } from '../digests/crc32.ts';
import { DIGEST_LENGTH, inlineDigester, threadDigester, threadDigesters, type Digester } from '../digests/digest.ts';
import { memberSums } from '../digests/member-sums.ts';
import { tensorSums } from '../digests/tensor-sums.ts';
import { settled } from '../settled.ts';
import { blockReads, isFar, type Overflow } from './block-reads.ts';
import { BLOCK, blockLength, blocksOf, type Part } from './blocks.ts';
import { explained } from './damage-on-the-way.ts';
import { memberRests } from './member-rests.ts';
import { openFiles } from './open-files.ts';
import { restBudget, type RestsRead } from './rest-budget.ts';

/** Blocks of memory: one being read, the others being digested and written. */
const RING = 4;
/** The same where every read is a request: several are under way, each for more. */
const RING_FAR = 6;
const BLOCK_FAR = 8 * 1024 * 1024;
/** Outputs from this size on are digested in threads of their own, which take some 20 ms to start. */
const THREADS_FROM = 32 * 1024 * 1024;
/** Of so many tensors, too, however small: their digests are a thread's work, while the next are copied. */
const THREAD_FROM_TENSORS = 10_000;
/** Milliseconds between two progress reports with the digest of all so far. */
const SNAPSHOT_EVERY = 500;

/** How far a transfer is: enough to go on from there and to prove that what is there is right. */
export interface Progress {
  /** Bytes that are written, from the first on. */
  readonly offset: number;
  /** Of these bytes. */
  readonly sha256: string;
  /** Values in these bytes that lay beyond the range of the dtype they were cast to, by tensor; absent: none. */
  readonly overflowed?: Overflows;
}

/** Counts by the tensor's index in the layout. */
export type Overflows = { readonly [index: string]: number };

export interface CopyOptions {
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  /** Called with consecutive blocks, several at a time; the memory is reused when the promise resolves. `sum`: their CRC-32, with `sums`. */
  readonly write: (bytes: Uint8Array, offset: number, sum: number) => Promise<void>;
  /** What is written is told its CRC-32, which for the most part costs nothing where that of the tensors is found out. */
  readonly sums?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  /** Of members that are read in part, what else is read for their CRC-32; absent: small rests. */
  readonly rests?: RestsRead;
  /** The blocks of memory, all of one length and in shared buffers; absent: memory of its own. */
  readonly memory?: readonly Uint8Array[];
  /** What an interrupted transfer left: these bytes are read from it and verified instead of written again. */
  readonly resume?: Progress & { readonly readInto: (offset: number, target: Uint8Array) => Promise<void> };
}

/** Of the layout's tensors, in its order; undefined: it has not been seen. */
export type TensorDigests = readonly (string | undefined)[];

export interface Copied {
  readonly size: number;
  readonly sha256: string;
  /** SHA-256 of each tensor, by its index in the layout. */
  readonly tensors: TensorDigests;
  readonly overflowed: Overflows;
}

/** What was left is not what was written: the transfer must begin anew. */
export class ResumeMismatch extends Error {}

/** A block on its way. */
interface Block {
  /** Which of the blocks of memory. */
  readonly slot: number;
  /** In the output. */
  readonly offset: number;
  readonly parts: readonly Part[];
  readonly bytes: Uint8Array;
  /** It is there already. */
  readonly resumed: boolean;
}

/** What a block holds of tensors, and the CRC-32 of all of it. */
interface Completed {
  /** Of the tensors in it, in order. */
  readonly indexes: readonly number[];
  /** Where their bytes begin and end in the block, in turns. */
  readonly bounds: Uint32Array<ArrayBuffer>;
  /** The last of them goes on in the next block. */
  readonly open: boolean;
  readonly sum: number;
}

export async function copyLayout(options: CopyOptions): Promise<Copied> {
  const { layout, plan, write, onProgress, resume } = options;
  const memory = options.memory ?? ringOf(layout, plan);
  const digesters = digestersOf(layout, plan, memory);
  const files = openFiles(plan.files, options.open);
  const members = memberSums(plan, layout.tensors);
  const budget = restBudget(layout, options.rests ?? 'small');
  const reads = blockReads({ layout, plan, files, sums: members, budget });
  const rests = memberRests({ layout, plan, files, sums: members, budget, resumed: resume?.offset ?? 0 });
  const sums = tensorSums(layout, plan, members);
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  // Every request under way listens.
  setMaxListeners(0, signal);
  const tensors: (string | undefined)[] = [];
  tensors.length = layout.tensors.length;
  const overflowed: Record<string, number> = { ...resume?.overflowed };
  /** By slot. */
  const reading: Promise<unknown>[] = [];
  const busy: Promise<void>[] = [];
  let started: Promise<unknown> = Promise.resolve();
  let finished: Promise<void> = Promise.resolve();
  let whole = '';
  let reported = 0;

  async function read({ parts, bytes, offset, slot, resumed }: Block): Promise<readonly Overflow[]> {
    if (!resumed) return reads.read(parts, bytes, slot, signal);
    await resume!.readInto(offset, bytes);
    return [];
  }

  /** What a block holds beside bytes that were read, which of them belong to which tensor, and the sum of all. */
  function complete({ parts, bytes, resumed }: Block): Completed {
    const indexes: number[] = [];
    const bounds = new Uint32Array(2 * parts.length);
    let open = false;
    let sum = 0;
    let from = 0;
    for (let at = 0; at < parts.length; at++) {
      const { segment: index, offset, length } = parts[at]!;
      const to = from + length;
      const segment = layout.segments[index]!;
      let own: number | undefined;
      if (segment.kind === 'tensor') {
        own = sums.add(segment, offset, bytes, from, to);
        bounds[2 * indexes.length] = from;
        bounds[2 * indexes.length + 1] = to;
        indexes.push(segment.index);
        open = offset + length < segment.length;
        if (!open && length > 0) rests.passed(layout.tensors[segment.index]!.origin.storage, resumed);
      } else if (!resumed) {
        const all = segment.kind === 'bytes' ? segment.bytes : segment.bytes(sums.of);
        bytes.set(all.subarray(offset, offset + length), from);
      }
      if (options.sums === true)
        sum = own !== undefined && length >= JOIN_FROM ? joinCrc32(sum, own, length) : crc32Of(bytes, from, to, sum);
      from = to;
    }
    return { indexes, bounds: bounds.slice(0, 2 * indexes.length), open, sum };
  }

  /** Digests and writes a block that is read, after the block before it: in an object, so that nobody waits for the end of it. */
  async function startWork(block: Block, filled: Promise<readonly Overflow[]>, before: Promise<unknown>) {
    const [, overflows] = await settled([before, filled]);
    const { slot, offset, bytes, resumed } = block;
    const { indexes, bounds, open, sum } = complete(block);
    const end = offset + bytes.length;
    const last = end === layout.size;
    const due = !resumed && Date.now() - reported >= SNAPSHOT_EVERY;
    if (due) reported = Date.now();
    const all = digesters.whole.update({
      slot,
      bounds: Uint32Array.of(0, bytes.length),
      open: !last,
      snapshot: !last && (due || end === resume?.offset),
    });
    const each = indexes.length === 0 ? undefined : digesters.tensors.update({ slot, bounds, open, snapshot: false });
    const rest = rests.isDue() ? rests.read(signal) : undefined;
    const work = settled([resumed ? undefined : write(bytes, offset, sum), all, each, rest]);
    work.catch(() => undefined);
    return { work, indexes, overflows, end, last, due };
  }

  async function finish(begun: ReturnType<typeof startWork>, before: Promise<void>): Promise<void> {
    const worked = begun.then(async ({ work, ...block }) => ({ ...block, results: await work }));
    const [, { results, indexes, overflows, end, last, due }] = await settled([before, worked]);
    const [, sum, digests] = results;
    const ended = digests?.ended ?? '';
    for (let at = 0; at * DIGEST_LENGTH < ended.length; at++)
      tensors[indexes[at]!] = ended.slice(at * DIGEST_LENGTH, (at + 1) * DIGEST_LENGTH);
    if (last) whole = sum.ended;
    if (end === resume?.offset && (sum.snapshot ?? whole) !== resume.sha256) throw new ResumeMismatch();
    for (const [index, count] of overflows) overflowed[index] = (overflowed[index] ?? 0) + count;
    if (due && sum.snapshot !== null)
      onProgress({
        offset: end,
        sha256: sum.snapshot,
        ...(Object.keys(overflowed).length === 0 ? {} : { overflowed: { ...overflowed } }),
      });
  }

  try {
    if (resume !== undefined && resume.offset > layout.size) throw new ResumeMismatch();
    let offset = 0;
    let turn = 0;
    for (const parts of blocksOf(layout, memory[0]!.length)) {
      const slot = turn++ % memory.length;
      await busy[slot];
      signal.throwIfAborted();
      const length = blockLength(parts);
      const end = offset + length;
      // Progress that is taken over must end with a block, or its digest would never be compared.
      if (resume !== undefined && offset < resume.offset && end > resume.offset) throw new ResumeMismatch();
      const resumed = resume !== undefined && end <= resume.offset;
      const bytes = memory[slot]!.subarray(0, length);
      const block = { slot, offset, parts, bytes, resumed };
      const alone = resumed || !reads.apart(parts);
      if (alone) await Promise.allSettled(reading);
      const filled = read(block);
      const begun = startWork(block, filled, started);
      const done = finish(begun, finished);
      // A failure surfaces when the slot is used again or at the end; until then it must not count as unhandled.
      done.catch((error: unknown) => stop.abort(error));
      [reading[slot], started, finished, busy[slot]] = [filled, begun, done, done];
      if (alone) await filled;
      offset = end;
    }
    await settled(busy);
  } catch (error) {
    stop.abort(error);
    const outcomes = await Promise.allSettled(busy);
    // Damage in what was left shows as damage of the source, too.
    const reasons = outcomes.map((each) => (each.status === 'rejected' ? (each.reason as unknown) : undefined));
    const mismatch = reasons.find((reason) => reason instanceof ResumeMismatch);
    const cause = mismatch ?? (await explained(error, members.damage(), { plan, files, memory: memory[0]!, signal: options.signal }));
    await Promise.allSettled([digesters.whole.close(), digesters.tensors.close(), files.close()]);
    throw cause;
  }
  await settled([digesters.whole.close(), digesters.tensors.close(), files.close()]);
  return { size: layout.size, sha256: whole, tensors, overflowed };
}

/** Bytes that come from afar do not come faster than one thread digests them twice. */
function digestersOf(layout: Layout, plan: Plan, memory: readonly Uint8Array[]): { readonly whole: Digester; readonly tensors: Digester } {
  if (layout.size < THREADS_FROM)
    return { whole: inlineDigester(memory), tensors: (hasThread(layout) ? threadDigester : inlineDigester)(memory) };
  if (!isFar(plan)) return { whole: threadDigester(memory), tensors: threadDigester(memory) };
  const [whole, tensors] = threadDigesters(memory, 2);
  return { whole: whole!, tensors: tensors! };
}

function hasThread({ size, tensors }: Layout): boolean {
  return size >= THREADS_FROM || tensors.length >= THREAD_FROM_TENSORS;
}

function ringOf(layout: Layout, plan: Plan): readonly Uint8Array[] {
  const far = isFar(plan);
  const size = Math.min(far ? BLOCK_FAR : BLOCK, layout.size);
  const block = hasThread(layout) ? sharedBlock : (length: number) => new Uint8Array(length);
  return Array.from({ length: far ? RING_FAR : RING }, () => block(size));
}

/** A block in shared memory, as digests in threads of their own need it. What could grow begins at a page, so that a disk can take it as it is. */
function sharedBlock(size: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(size, { maxByteLength: size }), 0, size);
}
