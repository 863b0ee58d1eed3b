/** A layout cut into the blocks in which it is moved. The same layout is always cut the same way, so an interrupted transfer knows where it was. */
import { segmentLength, type Layout } from '../formats/layout.ts';

/** Bytes of a block. */
export const BLOCK = 4 * 1024 * 1024;
/** Cuts inside a tensor lie at multiples of this, so that no element of any dtype is ever cut in two. */
const GRAIN = 16;

/** `length` bytes of a segment from `offset`. */
export interface Part {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/** Blocks of at most `BLOCK` bytes, in order; each a list of parts of segments, empty ones included. */
export function* blocksOf(layout: Layout): Generator<readonly Part[]> {
  let parts: Part[] = [];
  let room = BLOCK;
  for (const [segment, each] of layout.segments.entries()) {
    const length = segmentLength(each);
    let offset = 0;
    do {
      const take = length - offset <= room ? length - offset : Math.floor(room / GRAIN) * GRAIN;
      if (take > 0 || length === 0) parts.push({ segment, offset, length: take });
      offset += take;
      room -= take;
      if (offset < length || room === 0) {
        yield parts;
        parts = [];
        room = BLOCK;
      }
    } while (offset < length);
  }
  if (parts.length > 0) yield parts;
}
