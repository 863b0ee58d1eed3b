/** Any range of an output, made on its own: for transfers that do not walk it from end to end. */
import { segmentLength, type Layout } from '../formats/layout.ts';
import type { ByteSource } from '../model/byte-source.ts';
import type { Plan } from '../model/plan.ts';
import { openStorage, type StorageReader } from './storage-reader.ts';
import { tensorFill, type TensorFill } from './tensor-reader.ts';

/** A multiple of every element's size: inside a tensor, fills begin and end here. */
const GRAIN = 16;

export type RangeFill = (offset: number, target: Uint8Array, signal: AbortSignal) => Promise<void>;

/** For layouts without `late` segments. Calls must not overlap in time: the reader of the last tensor is kept for the next range. */
export function layoutRange(layout: Layout, plan: Plan, open: (file: number) => Promise<ByteSource>): RangeFill {
  const starts: number[] = [];
  let end = 0;
  for (const segment of layout.segments) {
    starts.push(end);
    end += segmentLength(segment);
  }
  let held: { readonly segment: number; readonly fill: TensorFill; readonly reader: StorageReader } | undefined;

  async function tensorAt(segment: number, index: number): Promise<TensorFill> {
    if (held?.segment === segment) return held.fill;
    held?.reader.close();
    const { origin } = layout.tensors[index]!;
    const storage = plan.storages[origin.storage]!;
    const reader = await openStorage(await open(storage.file), storage, { files: plan.files, open });
    held = { segment, reader, fill: tensorFill(reader, storage, origin) };
    return held.fill;
  }

  return async (offset, target, signal) => {
    const stop = offset + target.length;
    for (let index = firstAt(starts, offset); index < starts.length && starts[index]! < stop; index++) {
      const segment = layout.segments[index]!;
      const start = starts[index]!;
      const from = Math.max(offset, start) - start;
      const to = Math.min(stop, start + segmentLength(segment)) - start;
      if (to <= from) continue;
      const part = target.subarray(start + from - offset, start + to - offset);
      if (segment.kind === 'bytes') part.set(segment.bytes.subarray(from, to));
      else if (segment.kind === 'tensor') await fillAligned(await tensorAt(index, segment.index), from, part, segment.length, signal);
      else throw new RangeError('a layout with late segments must be walked from its start');
    }
  };
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

async function fillAligned(fill: TensorFill, from: number, target: Uint8Array, length: number, signal: AbortSignal): Promise<void> {
  const to = from + target.length;
  const edge = async (start: number): Promise<void> => {
    const bytes = new Uint8Array(Math.min(GRAIN, length - start));
    await fill(start, bytes, signal);
    const first = Math.max(from, start);
    target.set(bytes.subarray(first - start, Math.min(to, start + GRAIN) - start), first - from);
  };
  const low = Math.ceil(from / GRAIN) * GRAIN;
  const high = to === length ? to : Math.floor(to / GRAIN) * GRAIN;
  if (low !== from) await edge(low - GRAIN);
  if (high > low) await fill(low, target.subarray(low - from, high - from), signal);
  if (high !== to && high >= low) await edge(high);
}
