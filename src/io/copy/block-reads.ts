/**
 * The tensor bytes of a layout's blocks, out of the files they come from.
 *
 * Invariant: reads of blocks that are `apart` may overlap in time, each in a lane of its own; one that is not must be alone, after all
 * reads before it and before all reads behind it, as what it reads from keeps its place.
 */
import type { Layout } from '../../formats/layout.ts';
import { COUNT_SIZE } from '../../formats/torch/legacy.ts';
import { likelyDataOffset } from '../../formats/zip/local-header.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { bytesPerElement, tensorBytes } from '../../model/dtype.ts';
import type { Storage, StorageLocation } from '../../model/header.ts';
import type { Plan, PlannedTensor } from '../../model/plan.ts';
import { castFill, type CastReport } from '../cast/cast.ts';
import type { MemberSums } from '../digests/member-sums.ts';
import { settled } from '../settled.ts';
import type { Part } from './blocks.ts';
import { coalescing, type ByteRange, type CoalescingSource, type DirectRange } from './coalescing-source.ts';
import { deflatedEnds } from './deflated-ends.ts';
import { copyHeld, heldStart, heldStorage } from './held-tensor.ts';
import { inflateBudget } from './inflate-budget.ts';
import { OPEN_MAX, type OpenFiles } from './open-files.ts';
import type { RestBudget } from './rest-budget.ts';
import { openStorage, ranged, storedAt, type StorageReader } from './storage-reader.ts';
import { isAsStored, tensorFill, type TensorFill } from './tensor-reader.ts';

/** Tensors up to this size are read together with their neighbours. */
const SMALL = 256 * 1024;
/** The same where every read is a request. */
const SMALL_FAR = 1024 * 1024;
/** Bytes of a cast's source that are read at a time, where every read is a request. */
const CHUNK_FAR = 2 * 1024 * 1024;
/** Parts of this size and more are read right into the block, whatever stands beside them in the file; smaller ones come out of memory. */
const DIRECT_FROM = 64 * 1024;
/** Readers of deflated storages that are kept: tensors may take turns between some of them, which cost much to begin again. */
const KEPT = 4;
/** Bytes of a zip member's local header beside its name; torch pads it to 64. */
const LOCAL_HEADER = 30 + 128;

/** How many values of a tensor lay beyond the range of the dtype they were cast to. */
export type Overflow = readonly [index: number, count: number];

/** What of a tensor stands in a block. */
interface Piece {
  readonly part: Part;
  /** Of the tensor. */
  readonly index: number;
  readonly tensor: PlannedTensor;
  /** Bytes of the whole tensor. */
  readonly length: number;
  /** Where in the block. */
  readonly at: number;
}

/** Where in its file a piece is read, on the assumption that its storage begins at `start`. */
interface Aim extends DirectRange {
  readonly start: number;
}

export interface BlockReads {
  /** Whether the block may be read while others are. */
  apart(parts: readonly Part[]): boolean;
  /** Fills what of a block's `bytes` is tensors; its parts lie there one behind the other. */
  read(parts: readonly Part[], bytes: Uint8Array, lane: number, signal: AbortSignal): Promise<readonly Overflow[]>;
}

/** True for files each read of which is a request that takes its time, however few bytes it asks for. */
export function isFar({ files }: Pick<Plan, 'files'>): boolean {
  return files.some(({ uri }) => !uri.startsWith('file:'));
}

export interface BlockReadsOptions {
  readonly layout: Layout;
  readonly plan: Plan;
  readonly files: OpenFiles<ByteSource>;
  /** Told what passes on its way to tensors that are not published as they are stored; of the others, whoever is given their bytes tells. */
  readonly sums: MemberSums;
  readonly budget: RestBudget;
}

export function blockReads({ layout, plan, files, sums, budget }: BlockReadsOptions): BlockReads {
  const { storages } = plan;
  const far = isFar(plan);
  const small = far ? SMALL_FAR : SMALL;
  const chunk = far ? CHUNK_FAR : undefined;
  // A file that is closed to make room for another must not be under a read; on a disk, reads one after the other are as fast.
  const overlapping = far && plan.files.length <= OPEN_MAX;
  const lanes: WeakMap<ByteSource, CoalescingSource>[] = [];
  let held: { readonly segment: number; readonly fill: TensorFill; readonly report: CastReport } | undefined;
  /** Open readers by index of storage, all of one file, the least recently used first; only readers of deflated members are kept beside the last. */
  const readers = new Map<number, Promise<StorageReader>>();

  const inflate = inflateBudget(layout, plan);
  const toEnd = deflatedEnds(layout, budget);

  /** Start offsets of storages by their index, each resolved once; `told` has the resolved ones without a promise. */
  const starts = new Map<number, Promise<number>>();
  const told = new Map<number, number>();
  /** Whether start offsets are guessed ahead; false after the first wrong guess. */
  let guesses = true;

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
    const known = readers.get(index);
    readers.delete(index);
    for (const [other, kept] of readers) {
      const { file, location } = storages[other]!;
      const isKept = location.kind === 'member' && location.method === 'deflated' && file === storages[index]!.file;
      if (isKept && readers.size < KEPT) continue;
      readers.delete(other);
      kept.then((reader) => reader.close()).catch(() => undefined);
    }
    if (known !== undefined) {
      readers.set(index, known);
      return known;
    }
    const open = (file: number): Promise<CoalescingSource> => sourceOf(file, lane);
    const place = storages[index]!;
    const isDeflated = place.location.kind === 'member' && place.location.method === 'deflated';
    const reader = open(place.file)
      .then((source) => openStorage(source, place, { files: plan.files, open, inflate }))
      .then((opened) => (isDeflated ? toEnd(index, opened) : opened));
    readers.set(index, reader);
    return reader;
  }

  async function freeReader(index: number, lane: number): Promise<StorageReader> {
    const { file, location, length } = storages[index]!;
    if (!isInOnePlace(location)) throw new RangeError(`storage ${index} does not lie in one place`);
    const source = await sourceOf(file, lane);
    return ranged(source, await startOf(index, lane), length);
  }

  /** Where the bytes of a storage begin that lies in one place. `ready`: what stands in front of them may be in memory then. */
  function startOf(index: number, lane: number, ready?: Promise<unknown>): Promise<number> {
    const known = starts.get(index);
    if (known !== undefined) return known;
    const found = lookUpStart(index, lane, ready);
    starts.set(index, found);
    found.then(
      (start) => told.set(index, start),
      // Whoever reads from it fails, too.
      () => undefined,
    );
    return found;
  }

  async function lookUpStart(index: number, lane: number, ready: Promise<unknown> | undefined): Promise<number> {
    const { file, location } = storages[index]!;
    if (!isInOnePlace(location)) throw new RangeError(`storage ${index} does not lie in one place`);
    await ready;
    const source = await sourceOf(file, lane);
    return heldStart(source, storages[index]!) ?? storedAt(source, location);
  }

  /** Where a piece should lie in its file, to be read right into the block; undefined: it is looked for or made in another way. */
  function aim(piece: Piece, bytes: Uint8Array): Aim | undefined {
    const { part, tensor, length } = piece;
    const { origin } = tensor;
    const storage = storages[origin.storage]!;
    if (!isFree(tensor) || !isAsStored(tensor, storage) || (length < DIRECT_FROM && storage.length < DIRECT_FROM)) return undefined;
    const start = told.get(origin.storage) ?? (guesses ? likelyStart(storage) : undefined);
    if (start === undefined) return undefined;
    const offset = start + origin.offset * bytesPerElement(origin.dtype) + part.offset;
    return offset + part.length > plan.files[storage.file]!.size ? undefined : { start, offset, target: targetOf(piece, bytes) };
  }

  /** What is right behind what proves where it begins: the proof comes with it, unless somebody has it or asks for it. */
  function proofOf({ start, offset }: Aim, index: number): ByteRange | undefined {
    const { location } = storages[index]!;
    if (offset !== start || starts.has(index) || location.kind !== 'member') return undefined;
    return { offset: location.header, length: start - location.header };
  }

  /** Reads a piece again whose storage does not begin where it should. */
  async function prove({ start, target }: Aim, piece: Piece, lane: number, signal: AbortSignal): Promise<number> {
    if ((await startOf(piece.tensor.origin.storage, lane)) === start) return 0;
    guesses = false;
    return fillTensor(piece, target, lane, signal);
  }

  function fillOf(reader: StorageReader, tensor: PlannedTensor, report: CastReport): TensorFill {
    const { origin, dtype } = tensor;
    const storage = storages[origin.storage]!;
    const watched = isAsStored(tensor, storage) ? reader : sums.watch(origin.storage, reader);
    return castFill(tensorFill(watched, storage, origin), origin.dtype, dtype, report, chunk);
  }

  /** Gives the number of values that overflowed. */
  async function fillTensor(
    { part: { segment, offset }, tensor }: Piece,
    target: Uint8Array,
    lane: number,
    signal: AbortSignal,
  ): Promise<number> {
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
  function fillHeld(ready: ReadonlyMap<number, CoalescingSource>, { part, tensor, length, at }: Piece, bytes: Uint8Array): boolean {
    if (part.length !== length) return false;
    const storage = storages[tensor.origin.storage]!;
    const source = ready.get(storage.file);
    return source !== undefined && copyHeld(source, storage, tensor, length, bytes, at);
  }

  /** Whatever else of its storage a small tensor does not show is in memory, too: all of it has passed. */
  function passHeld(ready: ReadonlyMap<number, CoalescingSource>, { tensor: { dtype, origin }, length }: Piece): void {
    const index = origin.storage;
    const storage = storages[index]!;
    const shown = dtype === origin.dtype ? length : tensorBytes(origin.dtype, origin.shape);
    if (origin.offset === 0 && shown === storage.length) return;
    const source = sums.isTold(index) ? undefined : ready.get(storage.file);
    const bytes = source === undefined ? undefined : heldStorage(source, storage);
    if (bytes !== undefined) sums.pass(index, 0, bytes, 0, bytes.length);
  }

  /** The source bytes of a small tensor, what is checked in front of them included; undefined: it is none, or lies in several places. */
  function smallRange({ tensor, length }: Piece): ByteRange | undefined {
    const storage = storages[tensor.origin.storage]!;
    return length > small || storage.length > small ? undefined : rangeOf(storage.location, storage.length);
  }

  function piecesOf(parts: readonly Part[]): readonly Piece[] {
    const pieces: Piece[] = [];
    let at = 0;
    for (let place = 0; place < parts.length; place++) {
      const part = parts[place]!;
      const segment = layout.segments[part.segment]!;
      if (segment.kind === 'tensor' && part.length > 0) {
        const { index, length } = segment;
        pieces.push({ part, index, tensor: layout.tensors[index]!, length, at });
      }
      at += part.length;
    }
    return pieces;
  }

  /** What is read of each file before the pieces are filled; `heads`: storages whose proof comes with it. */
  function askedOf(
    pieces: readonly Piece[],
    aims: readonly (Aim | undefined)[],
  ): { readonly asked: ReadonlyMap<number, readonly (ByteRange | DirectRange)[]>; readonly heads: readonly number[] } {
    const asked = new Map<number, (ByteRange | DirectRange)[]>();
    const heads: number[] = [];
    // By their places: there may be very many in each block.
    for (let at = 0; at < pieces.length; at++) {
      const piece = pieces[at]!;
      const index = piece.tensor.origin.storage;
      const aimed = aims[at];
      const proof = aimed === undefined ? undefined : proofOf(aimed, index);
      if (proof !== undefined) heads.push(index);
      const range = aimed ?? (pieces.length > 1 ? smallRange(piece) : undefined);
      if (range === undefined) continue;
      const { file } = storages[index]!;
      const ranges = asked.get(file) ?? [];
      if (ranges.length === 0) asked.set(file, ranges);
      if (proof !== undefined) ranges.push(proof);
      ranges.push(range);
    }
    return { asked, heads };
  }

  /** Copies what lies in memory as a whole, and gives the indexes of the other pieces. */
  function fillAllHeld(
    ready: ReadonlyMap<number, CoalescingSource>,
    pieces: readonly Piece[],
    aims: readonly (Aim | undefined)[],
    bytes: Uint8Array,
  ): readonly number[] {
    const left: number[] = [];
    for (let at = 0; at < pieces.length; at++) {
      if (aims[at] === undefined) passHeld(ready, pieces[at]!);
      if (aims[at] !== undefined || !fillHeld(ready, pieces[at]!, bytes)) left.push(at);
    }
    return left;
  }

  return {
    apart: (parts) =>
      overlapping &&
      parts.every((part) => {
        const segment = layout.segments[part.segment]!;
        return segment.kind !== 'tensor' || isFree(layout.tensors[segment.index]!);
      }),
    async read(parts, bytes, lane, signal) {
      const pieces = piecesOf(parts);
      const aims = overlapping ? pieces.map((piece) => aim(piece, bytes)) : [];
      const { asked, heads } = askedOf(pieces, aims);
      const near = settled(
        [...asked].map(async ([file, ranges]) => {
          const source = await sourceOf(file, lane);
          await source.prefetch(ranges, signal);
          return [file, source] as const;
        }),
      );
      for (const index of heads) void startOf(index, lane, near);
      const ready = new Map(await near);
      const left = fillAllHeld(ready, pieces, aims, bytes);
      const overflows: Overflow[] = [];
      const reads: Promise<void>[] = [];
      const afterAll = async (error: unknown): Promise<never> => {
        await Promise.allSettled(reads);
        throw error;
      };
      for (const at of left) {
        const piece = pieces[at]!;
        const aimed = aims[at];
        const filled = aimed === undefined ? fillTensor(piece, targetOf(piece, bytes), lane, signal) : prove(aimed, piece, lane, signal);
        const read = filled.then((count) => {
          if (count > 0) overflows.push([piece.index, count]);
        });
        if (isFree(piece.tensor)) reads.push(read);
        else await read.catch(afterAll);
      }
      await settled(reads);
      return overflows;
    },
  };
}

/** Of a block's bytes those of one piece. */
function targetOf({ part, at }: Piece, bytes: Uint8Array): Uint8Array {
  return bytes.subarray(at, at + part.length);
}

function isInOnePlace(location: StorageLocation): location is Extract<StorageLocation, { kind: 'range' | 'member' }> {
  return location.kind === 'range' || (location.kind === 'member' && location.method === 'stored');
}

/** Where a storage's bytes should begin that lies in one place: `startOf` knows. */
function likelyStart({ location }: Storage): number | undefined {
  if (location.kind === 'range') return location.counted === undefined ? location.offset : undefined;
  if (location.kind !== 'member') return undefined;
  return likelyDataOffset(location);
}

/** The bytes of a storage with what is checked in front of them; `undefined` for one in several places. */
function rangeOf(location: StorageLocation, length: number): ByteRange | undefined {
  switch (location.kind) {
    case 'range': {
      const ahead = location.counted === undefined ? 0 : COUNT_SIZE;
      return { offset: location.offset - ahead, length: length + ahead };
    }
    case 'member':
      return {
        offset: location.header,
        // No character takes more than three bytes.
        length: Math.min(location.end - location.header, LOCAL_HEADER + 3 * location.name.length + location.stored),
      };
    case 'archive':
      return { offset: location.offset, length: location.stored };
    case 'blocks':
      return undefined;
  }
}
