/**
 * A layer over a byte source that reads neighbours together: who knows which ranges come next announces them, and reads inside
 * them are served from memory.
 */
import type { ByteSource } from '../model/byte-source.ts';
import { settled } from './settled.ts';

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface CoalescingSource extends ByteSource {
  /** Reads these ranges, those that lie close together in one request; forgets what was read before. */
  prefetch(ranges: readonly ByteRange[], signal?: AbortSignal): Promise<void>;
  /** What is in memory from `offset` on, as far as it goes, until the next `prefetch`; undefined: nothing. */
  held(offset: number): Uint8Array | undefined;
}

/** Bytes between two ranges that are cheaper read than asked for around. */
const GAP = 64 * 1024;
/** Bytes of one request. */
const SPAN = 4 * 1024 * 1024;
/** What is held takes memory in such steps. */
const STEP = 1024 * 1024;
/** Bytes held in all. */
const HELD_MAX = 16 * 1024 * 1024;

interface Span {
  readonly offset: number;
  readonly end: number;
}

/** Ranges as few requests; what does not fit into `HELD_MAX`, and what stands together with fewer than `least`, is left to direct reads. */
export function spansOf(ranges: readonly ByteRange[], size: number, least = 2): readonly Span[] {
  const isInOrder = ranges.every(({ offset }, index) => index === 0 || ranges[index - 1]!.offset <= offset);
  const sorted = isInOrder ? ranges : ranges.toSorted((a, b) => a.offset - b.offset);
  const spans: { offset: number; end: number; members: number }[] = [];
  let last: (typeof spans)[number] | undefined;
  for (const { offset, length } of sorted) {
    const end = Math.min(size, offset + length);
    if (last !== undefined && offset <= last.end + GAP && Math.max(end, last.end) - last.offset <= SPAN) {
      last.end = Math.max(end, last.end);
      last.members++;
    } else spans.push((last = { offset, end, members: 1 }));
  }
  let held = 0;
  return spans.filter(({ offset, end, members }) => members >= least && (held += end - offset) <= HELD_MAX);
}

/** `least`: of how many ranges at least a request is made. */
export function coalescing(source: ByteSource, least?: number): CoalescingSource {
  let held: readonly { readonly offset: number; readonly end: number; readonly bytes: Uint8Array }[] = [];
  /** What is held lies here: used again each time, as fresh memory for every block would be most of what is allocated. */
  let memory = new Uint8Array(0);

  /** The held bytes from an offset on. Spans are in order and do not overlap. */
  function from(offset: number): Uint8Array | undefined {
    let low = 0;
    let high = held.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (held[middle]!.offset <= offset) low = middle + 1;
      else high = middle;
    }
    const span = held[low - 1];
    return span !== undefined && offset < span.end ? span.bytes.subarray(offset - span.offset) : undefined;
  }

  function find(offset: number, length: number): Uint8Array | undefined {
    const bytes = from(offset);
    return bytes !== undefined && bytes.length >= length ? bytes.subarray(0, length) : undefined;
  }

  return {
    uri: source.uri,
    size: source.size,
    identity: source.identity,
    held: from,
    async prefetch(ranges, signal) {
      held = [];
      const spans = spansOf(ranges, source.size, least);
      const total = spans.reduce((sum, { offset, end }) => sum + end - offset, 0);
      if (total > memory.length) memory = new Uint8Array(Math.ceil(total / STEP) * STEP);
      let at = 0;
      const reads = spans.map(async ({ offset, end }) => {
        const bytes = memory.subarray(at, (at += end - offset));
        await source.readInto(offset, bytes, signal);
        return { offset, end, bytes };
      });
      // One that fails must not leave others that still write into what is used again.
      held = await settled(reads);
    },
    async read(offset, length, signal) {
      return find(offset, length)?.slice() ?? source.read(offset, length, signal);
    },
    async readInto(offset, target, signal) {
      const bytes = find(offset, target.length);
      if (bytes === undefined) return source.readInto(offset, target, signal);
      target.set(bytes);
    },
    close: () => source.close(),
  };
}
