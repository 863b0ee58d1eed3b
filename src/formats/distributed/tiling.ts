/** Whether boxes fill a tensor exactly: each inside it, no two overlapping, together as many elements. */

interface Box {
  readonly start: readonly number[];
  readonly shape: readonly number[];
}

/**
 * Sizes that are compared of pairs of boxes, for all tensors of a checkpoint: of 10 000 chunks along one of two axes 20 000, of a dense
 * grid more. They take a second or two.
 */
const COMPARED_MAX = 100_000_000;

/** What finds a gap in one tensor after the other; all together compare as many sizes as may be. */
export function gapFinder(): (shape: readonly number[], boxes: readonly Box[]) => string | undefined {
  let compared = 0;
  /** False where it may not be compared any more. */
  const spend = (sizes: number): boolean => (compared += sizes) <= COMPARED_MAX;
  return (shape, boxes) => findGap(shape, boxes, spend);
}

/** What is wrong with the boxes, or `undefined`. */
function findGap(shape: readonly number[], boxes: readonly Box[], spend: (sizes: number) => boolean): string | undefined {
  let elements = 0n;
  for (const { start, shape: extent } of boxes) {
    const inside =
      start.length === shape.length && extent.length === shape.length && shape.every((size, axis) => start[axis]! + extent[axis]! <= size);
    if (!inside) return `the box [${extent.join(', ')}] at [${start.join(', ')}] does not lie inside`;
    elements += volume(extent);
  }
  if (elements !== volume(shape)) return `they hold ${elements} of ${volume(shape)} elements`;
  const solid = boxes.filter(({ shape: extent }) => !extent.includes(0));
  // Along the axis that cuts most, only boxes next to each other can overlap.
  let axis = 0;
  let most = 0;
  for (const each of shape.keys()) {
    const cuts = new Set(solid.map(({ start }) => start[each])).size;
    if (cuts > most) [axis, most] = [each, cuts];
  }
  const sorted = solid.toSorted((a, b) => (a.start[axis] ?? 0) - (b.start[axis] ?? 0));
  for (const [index, a] of sorted.entries()) {
    const end = (a.start[axis] ?? 0) + (a.shape[axis] ?? 1);
    for (let next = index + 1; next < sorted.length; next++) {
      const b = sorted[next]!;
      if ((b.start[axis] ?? 0) >= end && shape.length > 0) break;
      if (!spend(shape.length)) return `they are too many to compare, ${boxes.length} here and those of the tensors before`;
      if (shape.every((_, each) => a.start[each]! < b.start[each]! + b.shape[each]! && b.start[each]! < a.start[each]! + a.shape[each]!))
        return `the boxes at [${a.start.join(', ')}] and [${b.start.join(', ')}] overlap`;
    }
  }
  return undefined;
}

function volume(shape: readonly number[]): bigint {
  return shape.reduce((product, size) => product * BigInt(size), 1n);
}
