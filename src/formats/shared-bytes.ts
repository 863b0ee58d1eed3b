/**
 * Which planned tensors are the same bytes of the same storage, so that a container which can share them writes them once.
 *
 * Invariant: a view names a tensor that is written and that holds every byte the view shows; `same` is true only where the
 * view's contiguous bytes are exactly that tensor's.
 */
import { elementCount, tensorBytes } from '../model/dtype.ts';
import type { Storage } from '../model/header.ts';
import type { PlannedTensor } from '../model/plan.ts';

export interface View {
  /** Index of the tensor that is written. */
  readonly holder: number;
  /** In elements of the holder. */
  readonly offset: number;
  readonly stride: readonly number[];
  /** The contiguous bytes of both are equal. */
  readonly same: boolean;
}

/**
 * One view for each tensor, in order. A storage that one of the tensors shows as a whole is shared by all that show parts of
 * it; otherwise only tensors that show exactly the same are shared, and the rest become contiguous copies.
 */
export function shareBytes(tensors: readonly PlannedTensor[], storages: readonly Storage[]): readonly View[] {
  // A storage seen whole in several dtypes is shared in the first; in the others only equal tensors are.
  const holders = new Map<number, number>();
  for (const [index, tensor] of tensors.entries())
    if (isWhole(tensor, storages) && !holders.has(tensor.origin.storage)) holders.set(tensor.origin.storage, index);
  const equals = new Map<string, number>();
  return tensors.map((tensor, index) => {
    const { origin, shape, dtype } = tensor;
    const whole = holders.get(origin.storage);
    if (whole !== undefined && tensors[whole]!.dtype === dtype && isPlainView(tensor)) {
      const same = origin.offset === 0 && origin.stride === undefined && elementCount(shape) === elementCount(tensors[whole]!.shape);
      return { holder: whole, offset: origin.offset, stride: origin.stride ?? rowMajor(shape), same };
    }
    const key = viewKey(tensor);
    const holder = equals.get(key) ?? index;
    equals.set(key, holder);
    return { holder, offset: 0, stride: rowMajor(shape), same: true };
  });
}

/** Names that are one tensor under several names, in groups; for containers that have to write it several times. */
export function tiedNames(tensors: readonly PlannedTensor[], storages: readonly Storage[]): readonly (readonly string[])[] {
  const groups = new Map<number, string[]>();
  // Only what shares its storage can be tied.
  const uses = new Uint32Array(storages.length);
  let isShared = false;
  for (let index = 0; index < tensors.length; index++) if (++uses[tensors[index]!.origin.storage]! > 1) isShared = true;
  if (!isShared) return [];
  const sharing = tensors.filter(({ origin }) => uses[origin.storage]! > 1);
  for (const [index, { holder }] of shareBytes(sharing, storages).entries()) {
    const { name, shape } = sharing[index]!;
    if (elementCount(shape) === 0) continue;
    const group = groups.get(holder);
    if (group === undefined) groups.set(holder, [name]);
    else group.push(name);
  }
  return [...groups.values()].filter(({ length }) => length > 1);
}

/** Strides of a contiguous tensor, as torch counts them: a size of 0 counts as 1. */
function rowMajor(shape: readonly number[]): readonly number[] {
  const stride = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) stride[axis] = stride[axis + 1]! * Math.max(1, shape[axis + 1]!);
  return stride;
}

/** Fields that say what a tensor is; any other one says what is done to its bytes. */
const DESCRIPTION = new Set(['name', 'dtype', 'shape', 'origin']);

/** The bytes as they are: not cast, not conjugated, nothing else done to them. */
function isPlainView(tensor: PlannedTensor): boolean {
  const { dtype, origin } = tensor;
  if (dtype !== origin.dtype || origin.conjugate === true || origin.negative === true) return false;
  // Of another rank, as [] is published for [1]: its strides are not the origin's.
  if (origin.stride !== undefined && origin.shape.length !== tensor.shape.length) return false;
  for (const field in tensor) if (!DESCRIPTION.has(field)) return false;
  return true;
}

function isWhole(tensor: PlannedTensor, storages: readonly Storage[]): boolean {
  const { origin, dtype, shape } = tensor;
  if (origin.unsupported !== undefined || !isPlainView(tensor)) return false;
  return origin.offset === 0 && origin.stride === undefined && tensorBytes(dtype, shape) === storages[origin.storage]?.length;
}

/** Equal for tensors whose published bytes are equal because they come from the same place in the same way. */
function viewKey({ name: _name, origin, shape, ...rest }: PlannedTensor): string {
  const { parameter: _parameter, requiresGrad: _requiresGrad, shape: seen, stride, ...place } = origin;
  return JSON.stringify([rest, place, stride === undefined ? elementCount(seen) : [seen, stride], elementCount(shape)]);
}
