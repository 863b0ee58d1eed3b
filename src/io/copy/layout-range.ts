/** Any range of an output, made on its own: for transfers that do not walk it from end to end. */
import { segmentLength, type Layout } from '../../formats/layout.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { bytesPerElement } from '../../model/dtype.ts';
import type { Plan } from '../../model/plan.ts';
import { memberSums } from '../digests/member-sums.ts';
import { blockReads } from './block-reads.ts';
import type { Part } from './blocks.ts';
import { explained } from './damage-on-the-way.ts';
import { memberRests } from './member-rests.ts';
import type { OpenFiles } from './open-files.ts';
import { restBudget } from './rest-budget.ts';
import { isAsStored } from './tensor-reader.ts';

/** A multiple of every element's size: inside a tensor whose elements are made, reads begin and end here. */
const GRAIN = 16;
/** Bytes of one read of what is looked at once more. */
const AGAIN = 1024 * 1024;

export interface LayoutRange {
  /** Fills `target` with bytes of the output. Calls may overlap in time: those that must not do so wait for each other. */
  fill(offset: number, target: Uint8Array, signal: AbortSignal): Promise<void>;
  /** After the last: compares members that were read but for little. */
  readRests(signal: AbortSignal): Promise<void>;
  /** What a transfer ends in whose bytes came damaged. */
  explained(error: unknown, signal: AbortSignal): Promise<unknown>;
}

/** For layouts without `late` segments. */
export function layoutRange(layout: Layout, plan: Plan, files: OpenFiles<ByteSource>): LayoutRange {
  const sums = memberSums(plan, layout.tensors);
  const budget = restBudget(layout, 'small');
  const reads = blockReads({ layout, plan, files, sums, budget });
  const rests = memberRests({ layout, plan, files, sums, budget, resumed: 0 });
  const starts: number[] = [];
  let end = 0;
  for (const segment of layout.segments) {
    starts.push(end);
    end += segmentLength(segment);
  }

  function partsOf(offset: number, length: number): readonly Part[] {
    const stop = offset + length;
    const parts: Part[] = [];
    for (let index = firstAt(starts, offset); index < starts.length && starts[index]! < stop; index++) {
      const start = starts[index]!;
      const from = Math.max(offset, start) - start;
      const to = Math.min(stop, start + segmentLength(layout.segments[index]!)) - start;
      if (to > from) parts.push({ segment: index, offset: from, length: to - from });
    }
    return parts;
  }

  /** The part with as much before and behind it as makes whole elements of it; null: it is of whole ones, or nothing is made of them. */
  function widened({ segment: index, offset, length }: Part): Part | null {
    const segment = layout.segments[index]!;
    if (segment.kind !== 'tensor') return null;
    const tensor = layout.tensors[segment.index]!;
    if (isAsStored(tensor, plan.storages[tensor.origin.storage]!)) return null;
    const from = Math.floor(offset / GRAIN) * GRAIN;
    const to = Math.min(segment.length, Math.ceil((offset + length) / GRAIN) * GRAIN);
    return from === offset && to === offset + length ? null : { segment: index, offset: from, length: to - from };
  }

  const lanes = new Set<number>();
  const running = new Set<Promise<void>>();
  let alone: Promise<unknown> = Promise.resolve();

  function fillRange(offset: number, target: Uint8Array, signal: AbortSignal): Promise<void> {
    const parts = partsOf(offset, target.length);
    const isApart = reads.apart(parts);
    const run = (isApart ? alone : Promise.allSettled([alone, ...running])).then(async () => {
      const lane = leastFree(lanes);
      lanes.add(lane);
      await fill(parts, target, lane, signal).finally(() => lanes.delete(lane));
    });
    running.add(run);
    const settled = run.then(
      () => running.delete(run),
      () => running.delete(run),
    );
    if (!isApart) alone = settled;
    return run;
  }

  /** Tells the sums of what was read as it is stored. */
  function passStored(parts: readonly Part[], bytes: Uint8Array, start: number): void {
    let at = start;
    for (const { segment: index, offset, length } of parts) {
      const segment = layout.segments[index]!;
      const tensor = segment.kind === 'tensor' ? layout.tensors[segment.index]! : undefined;
      if (tensor !== undefined && isAsStored(tensor, plan.storages[tensor.origin.storage]!)) {
        const { storage, dtype, offset: first } = tensor.origin;
        sums.pass(storage, first * bytesPerElement(dtype) + offset, bytes, at, at + length);
      }
      at += length;
    }
  }

  async function fill(parts: readonly Part[], target: Uint8Array, lane: number, signal: AbortSignal): Promise<void> {
    // Parts that are read as they are go together, as they lie side by side; only the first and the last may be cut inside an element.
    let together: Part[] = [];
    let from = 0;
    let at = 0;
    const flush = async (): Promise<void> => {
      if (together.length > 0) await reads.read(together, target.subarray(from, at), lane, signal);
      passStored(together, target, from);
      together = [];
    };
    for (const part of parts) {
      const segment = layout.segments[part.segment]!;
      const wide = widened(part);
      if (segment.kind === 'late') throw new RangeError('a layout with late segments must be walked from its start');
      if (segment.kind === 'bytes') target.set(segment.bytes.subarray(part.offset, part.offset + part.length), at);
      if (wide !== null) {
        await flush();
        const bytes = new Uint8Array(wide.length);
        await reads.read([wide], bytes, lane, signal);
        target.set(bytes.subarray(part.offset - wide.offset, part.offset - wide.offset + part.length), at);
        from = at + part.length;
      } else together.push(part);
      at += part.length;
    }
    await flush();
  }

  return {
    fill: fillRange,
    readRests: (signal) => rests.readBegun(signal),
    explained: (error, signal) => explained(error, sums.damage(), { plan, files, memory: new Uint8Array(AGAIN), signal }),
  };
}

function leastFree(taken: ReadonlySet<number>): number {
  let lane = 0;
  while (taken.has(lane)) lane++;
  return lane;
}

/** The last segment that begins at or before `offset`. */
function firstAt(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= offset) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}
