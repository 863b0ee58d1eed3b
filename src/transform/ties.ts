/** Names that are one tensor: what a model that ties them does to one of them, it does to all. Pure. */
import { elementCount } from '../model/dtype.ts';
import type { Tensor } from '../model/header.ts';

/** Equal for views that are one tensor. */
export function placeOf({ dtype, shape, storage, offset, stride, conjugate, negative }: Tensor): string {
  return JSON.stringify([storage, offset, dtype, shape, stride, conjugate, negative]);
}

/** Of each tensor that is tied, by its index, the indexes of all that are one with it, itself included. */
export function tiesOf(origins: readonly (Tensor | undefined)[]): ReadonlyMap<number, readonly number[]> {
  // Only what shares its storage can be tied, which for the most part nothing does.
  const uses = new Map<number, number>();
  for (const origin of origins) if (origin !== undefined) uses.set(origin.storage, (uses.get(origin.storage) ?? 0) + 1);
  const groups = new Map<string, number[]>();
  if (uses.size < origins.length)
    for (const [index, origin] of origins.entries()) {
      if (origin === undefined || uses.get(origin.storage) === 1 || elementCount(origin.shape) === 0) continue;
      const place = placeOf(origin);
      const group = groups.get(place);
      if (group === undefined) groups.set(place, [index]);
      else group.push(index);
    }
  return new Map([...groups.values()].flatMap((group) => (group.length === 1 ? [] : group.map((index) => [index, group] as const))));
}
