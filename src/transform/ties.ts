/** Names that are one tensor: what a model that ties them does to one of them, it does to all. Pure. */
import { elementCount } from '../model/dtype.ts';
import type { Tensor } from '../model/header.ts';

/** Equal for views that are one tensor. */
export function placeOf({ dtype, shape, storage, offset, stride, conjugate, negative }: Tensor): string {
  return JSON.stringify([storage, offset, dtype, shape, stride, conjugate, negative]);
}

/** Of each tensor that is tied, by its index, the indexes of all that are one with it, itself included. `storages`: how many there are. */
export function tiesOf(tensors: readonly { readonly origin?: Tensor }[], storages: number): ReadonlyMap<number, readonly number[]> {
  // Only what shares its storage can be tied, which for the most part nothing does.
  const uses = new Uint32Array(storages);
  let isShared = false;
  for (let index = 0; index < tensors.length; index++) {
    const { origin } = tensors[index]!;
    if (origin !== undefined && ++uses[origin.storage]! > 1) isShared = true;
  }
  const groups = new Map<string, number[]>();
  for (let index = 0; isShared && index < tensors.length; index++) {
    const { origin } = tensors[index]!;
    if (origin === undefined || uses[origin.storage] === 1 || elementCount(origin.shape) === 0) continue;
    const place = placeOf(origin);
    const group = groups.get(place);
    if (group === undefined) groups.set(place, [index]);
    else group.push(index);
  }
  return new Map([...groups.values()].flatMap((group) => (group.length === 1 ? [] : group.map((index) => [index, group] as const))));
}
