/** A layout cut into the blocks in which it is moved. The same layout is always cut the same way, so an interrupted transfer knows where it was. */
import { segmentLength, type Layout, type Segment } from '../../formats/layout.ts';
import { bytesPerElement } from '../../model/dtype.ts';

/** Bytes of a block, unless its user says otherwise. */
export const BLOCK = 2 * 1024 * 1024;

/** `length` bytes of a segment from `offset`. */
export interface Part {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Blocks of `size` bytes, in order, each a list of parts of segments, empty ones included; the last one is as long as what is left,
 * and one is shorter by a part of an element where the layout puts that across its end: no element is ever cut in two.
 */
export function* blocksOf(layout: Layout, size = BLOCK): Generator<readonly Part[]> {
  let parts: Part[] = [];
  let room = size;
  const { segments } = layout;
  for (let segment = 0; segment < segments.length; segment++) {
    const each = segments[segment]!;
    const length = segmentLength(each);
    let offset = 0;
    do {
      const rest = length - offset;
      const take = rest <= room ? rest : room - ((offset + room) % grainOf(layout, each));
      if (take > 0 || length === 0) parts.push({ segment, offset, length: take });
      offset += take;
      room -= take;
      // A full block is complete with the next byte only: empty segments behind it are of this one, as the last block ends the output.
      if (offset < length) {
        yield parts;
        parts = [];
        room = size;
      }
    } while (offset < length);
  }
  if (parts.length > 0) yield parts;
}

/** Bytes of a block. */
export function blockLength(parts: readonly Part[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** Cuts inside a segment lie at multiples of this. Dtypes that pack several elements into some bytes are moved as bytes. */
function grainOf({ tensors }: Layout, segment: Segment): number {
  const size = segment.kind === 'tensor' ? bytesPerElement(tensors[segment.index]!.dtype) : 1;
  return Number.isInteger(size) ? size : 1;
}
