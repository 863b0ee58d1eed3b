/** Whether boxes fill a tensor exactly: each inside it, no two overlapping, together as many elements. */

interface Box {
  readonly start: readonly number[];
  readonly shape: readonly number[];
}

/** Pairs of boxes that are compared for one tensor: 10 000 chunks along one axis take 10 000, a dense grid more. */
const PAIRS_MAX = 50_000_000;

/** What is wrong with the boxes, or `undefined`. */
export function findGap(shape: readonly number[], boxes: readonly Box[]): string | undefined {
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
  let pairs = 0;
  for (const [index, a] of sorted.entries()) {
    const end = (a.start[axis] ?? 0) + (a.shape[axis] ?? 1);
    for (let next = index + 1; next < sorted.length; next++) {
      const b = sorted[next]!;
      if ((b.start[axis] ?? 0) >= end && shape.length > 0) break;
      if (++pairs > PAIRS_MAX) return `they are too many to compare (${boxes.length})`;
      if (shape.every((_, each) => a.start[each]! < b.start[each]! + b.shape[each]! && b.start[each]! < a.start[each]! + a.shape[each]!))
        return `the boxes at [${a.start.join(', ')}] and [${b.start.join(', ')}] overlap`;
    }
  }
  return undefined;
}

function volume(shape: readonly number[]): bigint {
  return shape.reduce((product, size) => product * BigInt(size), 1n);
}
