/**
 * The tensor bytes of a layout's blocks, out of the files they come from.
 *
 * Invariant: reads of blocks that are `apart` may overlap in time, each in a lane of its own; one that is not must be alone, after all
 * reads before it and before all reads behind it, as what it reads from keeps its place.
 */
import { segmentLength, type Layout } from '../formats/layout.ts';
import { COUNT_SIZE } from '../formats/torch/legacy.ts';
import type { ByteSource } from '../model/byte-source.ts';
import type { StorageLocation } from '../model/header.ts';
import type { Plan, PlannedTensor } from '../model/plan.ts';
import type { Part } from './blocks.ts';
import { castFill, type CastReport } from './cast.ts';
import { coalescing, type ByteRange, type CoalescingSource } from './coalescing-source.ts';
import { heldTensor } from './held-tensor.ts';
import { OPEN_MAX, type OpenFiles } from './open-files.ts';
import { settled } from './settled.ts';
import { openStorage, ranged, storedAt, type StorageReader } from './storage-reader.ts';
import { tensorFill, type TensorFill } from './tensor-reader.ts';

/** Tensors up to this size are read together with their neighbours. */
const SMALL = 256 * 1024;
/** The same where every read is a request. */
const SMALL_FAR = 1024 * 1024;
/** Bytes of a cast's source that are read at a time, where every read is a request. */
const CHUNK_FAR = 2 * 1024 * 1024;
/** Bytes of a zip member's local header beside its name; torch pads it to 64. */
const LOCAL_HEADER = 30 + 128;

/** How many values of a tensor lay beyond the range of the dtype they were cast to. */
export type Overflow = readonly [index: number, count: number];

export interface BlockReads {
  /** Whether the block may be read while others are. */
  apart(parts: readonly Part[]): boolean;
  /** Fills what of a block is tensors. */
  read(parts: readonly Part[], bytes: Uint8Array, lane: number, signal: AbortSignal): Promise<readonly Overflow[]>;
}

/** True for files each read of which is a request that takes its time, however few bytes it asks for. */
export function isFar({ files }: Pick<Plan, 'files'>): boolean {
  return files.some(({ uri }) => !uri.startsWith('file:'));
}

/** `smallFar`: bytes of a tensor that counts as small where every read is a request. */
export function blockReads(layout: Layout, plan: Plan, files: OpenFiles<ByteSource>, smallFar = SMALL_FAR): BlockReads {
  const { storages } = plan;
  const far = isFar(plan);
  const small = far ? smallFar : SMALL;
  const chunk = far ? CHUNK_FAR : undefined;
  // A file that is closed to make room for another must not be under a read; on a disk, reads one after the other are as fast.
  const overlapping = far && plan.files.length <= OPEN_MAX;
  const lanes: WeakMap<ByteSource, CoalescingSource>[] = [];
  let held: { readonly segment: number; readonly fill: TensorFill; readonly report: CastReport } | undefined;
  let storage: { readonly index: number; readonly reader: Promise<StorageReader> } | undefined;

  /** Where storages begin that are read in any order, by their index: each is asked for once. */
  const starts = new Map<number, Promise<number>>();

  /** True where any range of the tensor may be read at any time: bytes in one place, that nothing was packed into. */
  function isFree({ origin }: PlannedTensor): boolean {
    return overlapping && origin.stride === undefined && isInOnePlace(storages[origin.storage]!.location);
  }

  async function sourceOf(file: number, lane: number): Promise<CoalescingSource> {
    const source = await files.source(file);
    const known = (lanes[lane] ??= new WeakMap());
    const found = known.get(source);
    if (found !== undefined) return found;
    // From afar, what stands in front of a tensor comes with it.
    const fresh = coalescing(source, far ? 1 : 2);
    known.set(source, fresh);
    return fresh;
  }

  function readerOf(index: number, lane: number): Promise<StorageReader> {
    if (storage?.index === index) return storage.reader;
    const open = (file: number): Promise<CoalescingSource> => sourceOf(file, lane);
    const place = storages[index]!;
    storage?.reader.then((reader) => reader.close()).catch(() => undefined);
    const reader = open(place.file).then((source) => openStorage(source, place, { files: plan.files, open }));
    storage = { index, reader };
    return reader;
  }

  async function freeReader(index: number, lane: number): Promise<StorageReader> {
    const { file, location, length } = storages[index]!;
    if (!isInOnePlace(location)) throw new RangeError(`storage ${index} does not lie in one place`);
    const source = await sourceOf(file, lane);
    const start = starts.get(index) ?? storedAt(source, location, length);
    starts.set(index, start);
    return ranged(source, await start, length);
  }

  function fillOf(reader: StorageReader, { origin, dtype }: PlannedTensor, report: CastReport): TensorFill {
    return castFill(tensorFill(reader, storages[origin.storage]!, origin), origin.dtype, dtype, report, chunk);
  }

  /** A part of a tensor; gives the number of values that overflowed. */
  async function fillTensor({ segment, offset }: Part, tensor: PlannedTensor, target: Uint8Array, lane: number, signal: AbortSignal) {
    if (isFree(tensor)) {
      const reader = await freeReader(tensor.origin.storage, lane);
      const report = { overflowed: 0 };
      await fillOf(reader, tensor, report)(offset, target, signal);
      return report.overflowed;
    }
    const reader = await readerOf(tensor.origin.storage, lane);
    // Segments come in order, so only the one under way is kept.
    if (held?.segment !== segment) {
      const report = { overflowed: 0 };
      held = { segment, fill: fillOf(reader, tensor, report), report };
    }
    const { fill, report } = held;
    const before = report.overflowed;
    await fill(offset, target, signal);
    return report.overflowed - before;
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

  /** The source bytes of a block's small tensors by file, local headers of zip members included. */
  function smallRanges(parts: readonly Part[]): ReadonlyMap<number, readonly ByteRange[]> {
    const found = new Map<number, ByteRange[]>();
    if (parts.length < 2) return found;
    for (const part of parts) {
      const segment = layout.segments[part.segment]!;
      if (segment.kind !== 'tensor' || segmentLength(segment) > small) continue;
      const { file, location, length } = storages[layout.tensors[segment.index]!.origin.storage]!;
      if (length > small) continue;
      const range = rangeOf(location, length);
      if (range === undefined) continue;
      const ranges = found.get(file);
      if (ranges === undefined) found.set(file, [range]);
      else ranges.push(range);
    }
    return found;
  }

  return {
    apart: (parts) =>
      overlapping &&
      parts.every((part) => {
        const segment = layout.segments[part.segment]!;
        return segment.kind !== 'tensor' || isFree(layout.tensors[segment.index]!);
      }),
    async read(parts, bytes, lane, signal) {
      const near = [...smallRanges(parts)].map(async ([file, ranges]) => {
        const source = await sourceOf(file, lane);
        await source.prefetch(ranges, signal);
        return [file, source] as const;
      });
      const ready = new Map(await settled(near));
      const overflows: Overflow[] = [];
      const reads: Promise<void>[] = [];
      const afterAll = async (error: unknown): Promise<never> => {
        await Promise.allSettled(reads);
        throw error;
      };
      let from = 0;
      for (const part of parts) {
        const segment = layout.segments[part.segment]!;
        const target = bytes.subarray(from, (from += part.length));
        if (segment.kind !== 'tensor' || part.length === 0) continue;
        const tensor = layout.tensors[segment.index]!;
        if (fillHeld(ready, tensor, segment.length, target)) continue;
        const read = fillTensor(part, tensor, target, lane, signal).then((count) => {
          if (count > 0) overflows.push([segment.index, count]);
        });
        if (isFree(tensor)) reads.push(read);
        else await read.catch(afterAll);
      }
      await settled(reads);
      return overflows;
    },
  };
}

function isInOnePlace(location: StorageLocation): location is Extract<StorageLocation, { kind: 'range' | 'member' }> {
  return location.kind === 'range' || (location.kind === 'member' && location.method === 'stored');
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
