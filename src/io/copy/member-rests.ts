/**
 * What of a member of an archive no tensor shows (the end of a storage, what lay beside a slice of it) or what an attempt before has read,
 * read as well: the archive has one CRC-32 for all of its bytes, which alone says whether those that were wanted are right.
 *
 * Invariant: it is read when the last of the tensors that show the member has passed, so that progress behind it says that it was.
 */
import { segmentLength, type Layout } from '../../formats/layout.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import type { Storage, Tensor } from '../../model/header.ts';
import type { Plan, PlannedTensor } from '../../model/plan.ts';
import { isSummed, type MemberSums } from '../digests/member-sums.ts';
import type { Stretch } from '../digests/piece-sum.ts';
import type { OpenFiles } from './open-files.ts';
import { isSmallRest, type RestBudget } from './rest-budget.ts';
import { late, openStorage } from './storage-reader.ts';
import { isAsStored, spanOf } from './tensor-reader.ts';

/** Bytes that are read again between two rests rather than asked for around. */
const GAP = 64 * 1024;
/** Bytes of one read. */
const BLOCK = 1024 * 1024;

export interface MemberRests {
  /** The last byte of a tensor of that storage has passed. `before`: in an attempt before this one, which has then seen to the rest. */
  passed(storage: number, before: boolean): void;
  /** Whether `read` has something to do. */
  isDue(): boolean;
  /** Reads the rests of storages all tensors of which have passed; throws where the sum is another. */
  read(signal: AbortSignal): Promise<void>;
  /** The same of those that some bytes of have passed. */
  readBegun(signal: AbortSignal): Promise<void>;
}

const NO_RESTS: MemberRests = {
  passed: () => undefined,
  isDue: () => false,
  read: async () => undefined,
  readBegun: async () => undefined,
};

export interface RestsOptions {
  readonly layout: Layout;
  readonly plan: Plan;
  readonly files: OpenFiles<ByteSource>;
  readonly sums: MemberSums;
  readonly budget: RestBudget;
  /** Bytes of the output that an attempt before this one has written. */
  readonly resumed: number;
}

export function memberRests({ layout, plan, files, sums, budget, resumed }: RestsOptions): MemberRests {
  const { storages } = plan;
  // Of safetensors there is nothing to compare.
  if (!storages.some((storage) => isMadeOfArchives(storage) || isSummed(storage.location))) return NO_RESTS;
  /** Tensors that have not passed, by storage. */
  const left = new Uint32Array(storages.length);
  /** Storages whose bytes an attempt before has read, which cannot be had from what it wrote. */
  const gone = new Set<number>();
  let at = 0;
  for (const segment of layout.segments) {
    const length = segmentLength(segment);
    if (segment.kind === 'tensor' && length > 0) {
      const tensor = layout.tensors[segment.index]!;
      const { storage } = tensor.origin;
      left[storage]!++;
      if (at < resumed && isGone(tensor)) gone.add(storage);
    }
    at += length;
  }
  let due: number[] = [];
  let reading: Promise<void> = Promise.resolve();
  let memory: Uint8Array | undefined;
  let origins: Map<number, Tensor[]> | undefined;

  function isGone(tensor: PlannedTensor): boolean {
    const storage = storages[tensor.origin.storage]!;
    return isMadeOfArchives(storage) || (isSummed(storage.location) && !isAsStored(tensor, storage));
  }

  /** Of the tensors that show a storage: looked through once for all of them. */
  function originsOf(index: number): readonly Tensor[] {
    if (origins === undefined) {
      origins = new Map();
      for (const { origin } of layout.tensors) {
        const others = origins.get(origin.storage);
        if (others === undefined) origins.set(origin.storage, [origin]);
        else others.push(origin);
      }
    }
    return origins.get(index) ?? [];
  }

  /** Whether the tensors show all of the storage but for little. */
  function isShown(index: number): boolean {
    const spans = originsOf(index).map(spanOf);
    let end = 0;
    let hidden = 0;
    for (const span of spans.sort((one, other) => one.start - other.start)) {
      hidden += Math.max(0, span.start - end);
      end = Math.max(end, span.end);
    }
    return isSmallRest(hidden + storages[index]!.length - end);
  }

  /** What is read of a storage; null: too much. */
  function chosen(index: number): readonly Stretch[] | null {
    const storage = storages[index]!;
    if (isMadeOfArchives(storage)) return [{ offset: 0, length: storage.length }];
    const stretches = joined(sums.missing(index));
    const bytes = stretches.reduce((sum, stretch) => sum + stretch.length, 0);
    return (gone.has(index) && isShown(index)) || budget.take(bytes) ? stretches : null;
  }

  async function readRest(index: number, signal: AbortSignal): Promise<void> {
    const storage = storages[index]!;
    const stretches = chosen(index);
    if (stretches === null) return;
    const access = { files: plan.files, open: (file: number) => files.source(file) };
    const reader = await openStorage(late(access, storage.file), storage, access);
    try {
      for (const { offset, length } of stretches) {
        for (let done = 0; done < length; done += BLOCK) {
          memory ??= new Uint8Array(BLOCK);
          const bytes = memory.subarray(0, Math.min(BLOCK, length - done));
          await reader.readInto(offset + done, bytes, signal);
          sums.pass(index, offset + done, bytes, 0, bytes.length);
        }
      }
    } finally {
      reader.close();
    }
  }

  /** One after the other, in one piece of memory. */
  function readAll(indexes: readonly number[], signal: AbortSignal): Promise<void> {
    reading = reading.then(async () => {
      for (const index of indexes) await readRest(index, signal);
    });
    return reading;
  }

  return {
    passed(storage, before) {
      if (--left[storage]! > 0 || before) return;
      if (isMadeOfArchives(storages[storage]!) ? gone.has(storage) : !sums.isTold(storage)) due.push(storage);
    },
    isDue: () => due.length > 0,
    read(signal) {
      const now = due;
      due = [];
      return readAll(now, signal);
    },
    readBegun(signal) {
      const begun = new Set(layout.tensors.map(({ origin }) => origin.storage).filter((index) => sums.isBegun(index)));
      return readAll([...begun], signal);
    },
  };
}

/** Their sums are compared by who reads them, where that is from the start to the end. */
function isMadeOfArchives({ location }: Storage): boolean {
  return location.kind === 'archive' || location.kind === 'blocks';
}

/** Stretches of which those that lie close together are one. */
function joined(stretches: readonly Stretch[]): readonly Stretch[] {
  const found: { readonly offset: number; length: number }[] = [];
  for (const { offset, length } of stretches) {
    const last = found.at(-1);
    if (last !== undefined && offset - last.offset - last.length <= GAP) last.length = offset + length - last.offset;
    else found.push({ offset, length });
  }
  return found;
}
