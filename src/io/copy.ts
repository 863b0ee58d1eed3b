/**
 * Walks a layout into a sink: one pass, a few blocks of memory, digests in flight.
 *
 * The next block is read while earlier ones are digested and written. Every range of the output can be made on its own, so a
 * transfer may go on where an interrupted one stopped. Invariant: when the promise settles, nothing of the transfer runs any more.
 */
import { crc32 } from 'node:zlib';
import { CheckpointLoadError } from '../errors.ts';
import { segmentLength, type Layout } from '../formats/layout.ts';
import { COUNT_SIZE } from '../formats/torch/legacy.ts';
import type { ByteSource, PinnedFile } from '../model/byte-source.ts';
import type { Storage, StorageLocation } from '../model/header.ts';
import type { Plan, PlannedTensor } from '../model/plan.ts';
import { BLOCK, blocksOf, type Part } from './blocks.ts';
import { castFill, type CastReport } from './cast.ts';
import { coalescing, type ByteRange, type CoalescingSource } from './coalescing-source.ts';
import { inlineDigester, threadDigester, type DigestPiece } from './digest.ts';
import { heldTensor } from './held-tensor.ts';
import { openFiles } from './open-files.ts';
import { openStorage, type StorageReader } from './storage-reader.ts';
import { isWholeStorage, tensorFill, type TensorFill } from './tensor-reader.ts';

/** Blocks of memory: one being read, the others being digested and written. */
const RING = 4;
/** Outputs from this size on are digested in threads of their own, which take some 20 ms to start. */
const THREADS_FROM = 32 * 1024 * 1024;
/** Tensors up to this size are read together with their neighbours. */
const SMALL = 256 * 1024;
/** Bytes of a zip member's local header beside its name; torch pads it to 64. */
const LOCAL_HEADER = 30 + 128;
/** Milliseconds between two progress reports with the digest of all so far. */
const SNAPSHOT_EVERY = 500;
/** The digester's key of the file itself; tensors have their index. */
const WHOLE = -1;

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
  /** Called with consecutive blocks, several at a time; the memory is reused when the promise resolves. */
  readonly write: (bytes: Uint8Array, offset: number) => Promise<void>;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  /** What an interrupted transfer left: these bytes are read from it and verified instead of written again. */
  readonly resume?: Progress & { readonly readInto: (offset: number, target: Uint8Array) => Promise<void> };
}

export interface Copied {
  readonly size: number;
  readonly sha256: string;
  /** SHA-256 of each tensor, by its index in the layout. */
  readonly tensors: ReadonlyMap<number, string>;
  readonly overflowed: Overflows;
}

/** What was left is not what was written: the transfer must begin anew. */
export class ResumeMismatch extends Error {}

export async function copyLayout(options: CopyOptions): Promise<Copied> {
  const { layout, plan, signal, write, onProgress, resume } = options;
  const threaded = layout.size >= THREADS_FROM;
  const memory = Array.from({ length: RING }, () => (threaded ? sharedBlock() : new Uint8Array(Math.min(BLOCK, layout.size))));
  const start = threaded ? threadDigester : inlineDigester;
  const digesters = { whole: start(memory), tensors: start(memory) };
  const files = openFiles(plan.files, async (file) => coalescing(await options.open(file)));
  const fill = filler(layout, plan, files.source, resume);
  const tensors = new Map<number, string>();
  const overflowed: Record<string, number> = { ...resume?.overflowed };
  const busy: Promise<void>[] = [];
  let whole = '';
  let reported = 0;

  /** Everything that happens to a block once it is read; blocks are done in order. */
  async function finish(
    slot: number,
    offset: number,
    bytes: Uint8Array,
    { pieces, overflows }: Filled,
    before: Promise<void>,
  ): Promise<void> {
    const end = offset + bytes.length;
    const last = end === layout.size;
    const resumed = resume !== undefined && end <= resume.offset;
    const due = !resumed && Date.now() - reported >= SNAPSHOT_EVERY;
    if (due) reported = Date.now();
    const all = digesters.whole.update({
      slot,
      pieces: [{ key: WHOLE, from: 0, to: bytes.length, ends: last }],
      snapshot: !last && (due || end === resume?.offset),
    });
    const each = pieces.length === 0 ? undefined : digesters.tensors.update({ slot, pieces, snapshot: false });
    const [, sum, parts] = await settle([resumed ? undefined : write(bytes, offset), all, each, before]);
    for (const { key, sha256 } of parts?.ended ?? []) tensors.set(key, sha256);
    if (last) whole = sum!.ended[0]!.sha256;
    if (end === resume?.offset && (sum!.snapshot ?? whole) !== resume.sha256) throw new ResumeMismatch();
    for (const [index, count] of overflows) overflowed[index] = (overflowed[index] ?? 0) + count;
    if (due && sum!.snapshot !== null && sum!.snapshot !== undefined)
      onProgress({
        offset: end,
        sha256: sum!.snapshot,
        ...(Object.keys(overflowed).length === 0 ? {} : { overflowed: { ...overflowed } }),
      });
  }

  try {
    if (resume !== undefined && resume.offset > layout.size) throw new ResumeMismatch();
    let offset = 0;
    let turn = 0;
    for (const parts of blocksOf(layout)) {
      signal.throwIfAborted();
      const slot = turn++ % RING;
      await busy[slot];
      const length = parts.reduce((sum, part) => sum + part.length, 0);
      // What is taken over must end with a block, else its digest would never be compared.
      if (resume !== undefined && offset < resume.offset && offset + length > resume.offset) throw new ResumeMismatch();
      const bytes = memory[slot]!.subarray(0, length);
      const filled = await fill(parts, offset, bytes, signal);
      const done = finish(slot, offset, bytes, filled, busy[(slot + RING - 1) % RING] ?? Promise.resolve());
      // A failure surfaces when the slot is used again or at the end; until then it must not count as unhandled.
      done.catch(() => undefined);
      busy[slot] = done;
      offset += length;
    }
    await settle(busy);
  } catch (error) {
    const settled = await Promise.allSettled(busy);
    await Promise.allSettled([digesters.whole.close(), digesters.tensors.close(), files.close()]);
    // Damage in what was left shows as damage of the source, too.
    const reasons = settled.map((each) => (each.status === 'rejected' ? (each.reason as unknown) : undefined));
    throw reasons.find((reason) => reason instanceof ResumeMismatch) ?? error;
  }
  await settle([digesters.whole.close(), digesters.tensors.close(), files.close()]);
  return { size: layout.size, sha256: whole, tensors, overflowed };
}

/** A block in shared memory. What could grow begins at a page, so that a disk can take it as it is. */
function sharedBlock(): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(BLOCK, { maxByteLength: BLOCK }), 0, BLOCK);
}

/** Waits for all, then throws the first error if there was one: nothing goes on behind a caller's back. */
async function settle<T extends readonly unknown[]>(promises: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(promises);
  for (const each of settled) if (each.status === 'rejected') throw each.reason;
  // Every one is fulfilled here.
  return settled.map((each) => (each as PromiseFulfilledResult<unknown>).value) as { -readonly [K in keyof T]: Awaited<T[K]> };
}

interface Filled {
  /** Which bytes of the block belong to which tensor. */
  readonly pieces: readonly DigestPiece[];
  readonly overflows: readonly (readonly [index: number, count: number])[];
}

/** Fills a block's memory. */
type BlockFill = (parts: readonly Part[], offset: number, bytes: Uint8Array, signal: AbortSignal) => Promise<Filled>;

/** Segments come in order, so only the reader of the one under way is kept. */
function filler(layout: Layout, plan: Plan, open: (file: number) => Promise<CoalescingSource>, resume: CopyOptions['resume']): BlockFill {
  const { storages } = plan;
  const sums = checksums(layout, plan);
  let held: { readonly segment: number; readonly fill: TensorFill; readonly report: CastReport } | undefined;
  let storage: { readonly index: number; readonly reader: StorageReader } | undefined;

  async function fillTensor(
    segment: number,
    tensor: PlannedTensor,
    offset: number,
    target: Uint8Array,
    signal: AbortSignal,
  ): Promise<number> {
    if (held?.segment !== segment) {
      const { origin } = tensor;
      const place = storages[origin.storage]!;
      if (storage?.index !== origin.storage) {
        storage?.reader.close();
        storage = { index: origin.storage, reader: await openStorage(await open(place.file), place, { files: plan.files, open }) };
      }
      const report = { overflowed: 0 };
      held = { segment, fill: castFill(tensorFill(storage.reader, place, origin), origin.dtype, tensor.dtype, report), report };
    }
    const before = held.report.overflowed;
    await held.fill(offset, target, signal);
    return held.report.overflowed - before;
  }

  /** Copies a whole tensor that lies in memory; false where it does not. */
  function fillHeld(ready: ReadonlyMap<number, CoalescingSource>, tensor: PlannedTensor, length: number, target: Uint8Array): boolean {
    if (target.length !== length) return false;
    const place = storages[tensor.origin.storage]!;
    const source = ready.get(place.file);
    const bytes = source === undefined ? undefined : heldTensor(source, place, tensor, length);
    if (bytes !== undefined) target.set(bytes);
    return bytes !== undefined;
  }

  return async (parts, offset, bytes, signal) => {
    const resumed = resume !== undefined && offset + bytes.length <= resume.offset;
    const ready = new Map<number, CoalescingSource>();
    if (resumed) await resume.readInto(offset, bytes);
    else
      for (const [file, ranges] of smallRanges(layout, storages, parts)) {
        const source = await open(file);
        await source.prefetch(ranges, signal);
        ready.set(file, source);
      }
    const pieces: DigestPiece[] = [];
    const overflows: [number, number][] = [];
    let from = 0;
    for (const { segment: index, offset: within, length } of parts) {
      const to = from + length;
      const target = bytes.subarray(from, to);
      const segment = layout.segments[index]!;
      if (segment.kind === 'tensor') {
        const tensor = layout.tensors[segment.index]!;
        const known = resumed || length === 0 || fillHeld(ready, tensor, segment.length, target);
        const count = known ? 0 : await fillTensor(index, tensor, within, target, signal);
        if (count > 0) overflows.push([segment.index, count]);
        sums.add(segment, within, target);
        pieces.push({ key: segment.index, from, to, ends: within + length === segment.length });
      } else if (!resumed) {
        const whole = segment.kind === 'bytes' ? segment.bytes : segment.bytes(sums.of);
        target.set(whole.subarray(within, within + length));
      }
      from = to;
    }
    return { pieces, overflows };
  };
}

/** The source bytes of a block's small tensors by file, local headers of zip members included. */
function smallRanges(layout: Layout, storages: readonly Storage[], parts: readonly Part[]): ReadonlyMap<number, readonly ByteRange[]> {
  const files = new Map<number, ByteRange[]>();
  if (parts.length < 2) return files;
  for (const part of parts) {
    const segment = layout.segments[part.segment]!;
    if (segment.kind !== 'tensor' || segmentLength(segment) > SMALL) continue;
    const { origin } = layout.tensors[segment.index]!;
    const { file, location, length } = storages[origin.storage]!;
    if (length > SMALL) continue;
    const range = rangeOf(location, length);
    if (range === undefined) continue;
    const ranges = files.get(file);
    if (ranges === undefined) files.set(file, [range]);
    else ranges.push(range);
  }
  return files;
}

/** The bytes of a storage with what is checked in front of them; `undefined` for one in several places. */
function rangeOf(location: StorageLocation, length: number): ByteRange | undefined {
  switch (location.kind) {
    case 'range': {
      const ahead = location.counted === undefined ? 0 : COUNT_SIZE;
      return { offset: location.offset - ahead, length: length + ahead };
    }
    case 'member':
      return { offset: location.header, length: LOCAL_HEADER + Buffer.byteLength(location.name) + location.stored };
    case 'archive':
      return { offset: location.offset, length: location.stored };
    case 'blocks':
      return undefined;
  }
}

/** CRC-32 of the tensors as they pass, for those whose archive says what it should be and for layouts that write it. */
function checksums(layout: Layout, plan: Plan) {
  const wanted = layout.segments.some(({ kind }) => kind === 'late');
  const found = new Map<number, number>();
  let sum = 0;
  let expected = 0;

  /** What the archive says of exactly these bytes; 0: nothing. */
  function expectedOf({ index, length }: { readonly index: number; readonly length: number }): number {
    const { dtype, origin } = layout.tensors[index]!;
    const storage = plan.storages[origin.storage]!;
    const { location } = storage;
    const told = location.kind === 'member' && location.method === 'stored' && dtype === origin.dtype;
    return told && isWholeStorage(storage, origin, length) ? location.crc32 : 0;
  }

  return {
    /** Takes a segment's bytes in order; throws `CheckpointLoadError` with the last of a damaged one. */
    add(segment: { readonly index: number; readonly length: number }, offset: number, bytes: Uint8Array): void {
      if (offset === 0) {
        sum = 0;
        expected = expectedOf(segment);
      }
      if (expected === 0 && !wanted) return;
      sum = crc32(bytes, sum);
      if (offset + bytes.length < segment.length) return;
      if (wanted) found.set(segment.index, sum);
      if (expected === 0 || sum === expected) return;
      const { name, origin } = layout.tensors[segment.index]!;
      const { uri } = plan.files[plan.storages[origin.storage]!.file]!;
      throw new CheckpointLoadError(
        `${uri}: the bytes of ${name} are damaged: CRC-32 is ${sum.toString(16)}, the archive says ${expected.toString(16)}. Copy the file again from where it came.`,
        uri,
        { details: { tensor: name } },
      );
    },
    of: (index: number): number => found.get(index)!,
  };
}
