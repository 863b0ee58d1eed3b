/**
 * A layer over a byte source that reads neighbours together: who knows which ranges come next announces them, and reads inside
 * them are served from memory. Large ones are read right into the place that they are for, with what stands between them.
 */
import { readEach, type ByteSource } from '../../model/byte-source.ts';
import { settled } from '../settled.ts';

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Bytes that are not held, but read into `target`. */
export interface DirectRange {
  readonly offset: number;
  readonly target: Uint8Array;
}

export interface CoalescingSource extends ByteSource {
  /** Reads these ranges, those that lie close together in one request; forgets what was read before. Those with a target are there afterwards. */
  prefetch(ranges: readonly (ByteRange | DirectRange)[], signal?: AbortSignal): Promise<void>;
  /** The piece in memory that the byte at `offset` lies in, until the next `prefetch`; undefined: none. */
  held(offset: number): Held | undefined;
}

/** Bytes of the source that are in memory. */
export interface Held {
  readonly offset: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

/** Bytes between two ranges that are cheaper read than asked for around. */
const GAP = 64 * 1024;
/** Bytes of one request that are held. */
const SPAN = 4 * 1024 * 1024;
/** What is held takes memory in such steps. */
const STEP = 1024 * 1024;
/** Bytes held in all. */
const HELD_MAX = 16 * 1024 * 1024;

interface Span {
  readonly offset: number;
  readonly end: number;
  /** What of it goes to a place of its own, in order; the rest is held. */
  readonly direct: readonly DirectRange[];
}

interface GrowingSpan extends Span {
  end: number;
  readonly direct: DirectRange[];
  /** Of what was announced. */
  members: number;
  /** Bytes that will be in memory. */
  held: number;
}

/**
 * Ranges as few requests; of what is held, what does not fit into `HELD_MAX`, and what stands together with fewer than `least`, is left
 * to direct reads.
 */
export function spansOf(ranges: readonly (ByteRange | DirectRange)[], size: number, least = 2): readonly Span[] {
  const isInOrder = ranges.every(({ offset }, index) => index === 0 || ranges[index - 1]!.offset <= offset);
  const sorted = isInOrder ? ranges : ranges.toSorted((a, b) => a.offset - b.offset);
  const spans: GrowingSpan[] = [];
  let last: GrowingSpan | undefined;
  for (let index = 0; index < sorted.length; index++) {
    const range = sorted[index]!;
    const { offset } = range;
    const isDirect = 'target' in range;
    const end = isDirect ? offset + range.target.length : Math.min(size, offset + range.length);
    const held = last === undefined ? 0 : isDirect ? offset - last.end : Math.max(end, last.end) - last.end;
    // One stream fills one place: what goes to a place of its own begins behind all else.
    const fits = last !== undefined && offset >= (isDirect ? last.end : directEnd(last));
    if (last !== undefined && fits && offset <= last.end + GAP && last.held + held <= SPAN) {
      last.end = Math.max(end, last.end);
      last.held += held;
      last.members++;
    } else spans.push((last = { offset, end, direct: [], members: 1, held: isDirect ? 0 : end - offset }));
    if (isDirect) last.direct.push(range);
  }
  let held = 0;
  return spans.flatMap((span): readonly Span[] => {
    if ((span.members >= least || span.direct.length > 0) && held + span.held <= HELD_MAX) {
      held += span.held;
      return [span];
    }
    return span.direct.map((range) => ({ offset: range.offset, end: range.offset + range.target.length, direct: [range] }));
  });
}

function directEnd({ offset, direct }: Span): number {
  const last = direct.at(-1);
  return last === undefined ? offset : last.offset + last.target.length;
}

/** A span's pieces in order: places of their own, and lengths of what is held. */
function cut({ offset, end, direct }: Span): {
  readonly offset: number;
  readonly held: number;
  readonly pieces: readonly (Uint8Array | number)[];
} {
  const pieces: (Uint8Array | number)[] = [];
  let held = 0;
  let at = offset;
  const hold = (to: number): void => {
    if (to > at) pieces.push(to - at);
    held += to - at;
  };
  for (const range of direct) {
    hold(range.offset);
    pieces.push(range.target);
    at = range.offset + range.target.length;
  }
  hold(end);
  return { offset, held, pieces };
}

/** `least`: of how many ranges at least a request is made. */
export function coalescing(source: ByteSource, least?: number): CoalescingSource {
  let held: readonly Held[] = [];
  /** What is held lies here: used again each time, as fresh memory for every block would be most of what is allocated. */
  let memory = new Uint8Array(0);

  /** Pieces are in order; of two that overlap, the later one counts. */
  function pieceAt(offset: number): Held | undefined {
    let low = 0;
    let high = held.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (held[middle]!.offset <= offset) low = middle + 1;
      else high = middle;
    }
    const span = held[low - 1];
    return span !== undefined && offset < span.end ? span : undefined;
  }

  function find(offset: number, length: number): Uint8Array | undefined {
    const piece = pieceAt(offset);
    const start = piece === undefined ? 0 : offset - piece.offset;
    return piece !== undefined && offset + length <= piece.end ? piece.bytes.subarray(start, start + length) : undefined;
  }

  return {
    uri: source.uri,
    size: source.size,
    identity: source.identity,
    held: pieceAt,
    async prefetch(ranges, signal) {
      held = [];
      const spans = spansOf(ranges, source.size, least).map(cut);
      const total = spans.reduce((sum, { held: length }) => sum + length, 0);
      if (total > memory.length) memory = new Uint8Array(Math.ceil(total / STEP) * STEP);
      let at = 0;
      const fresh: Held[] = [];
      const reads = spans.map(({ offset, pieces }) => {
        let start = offset;
        const targets = pieces.map((piece) => {
          const bytes = typeof piece === 'number' ? memory.subarray(at, (at += piece)) : piece;
          if (typeof piece === 'number') fresh.push({ offset: start, end: start + piece, bytes });
          start += bytes.length;
          return bytes;
        });
        return readEach(source, offset, targets, signal);
      });
      // One that fails must not leave others that still write into what is used again.
      await settled(reads);
      held = fresh.sort((a, b) => a.offset - b.offset);
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
