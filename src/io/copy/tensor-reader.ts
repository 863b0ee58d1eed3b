/**
 * A tensor as it is published: contiguous, row-major, little-endian bytes, from any view of any storage.
 *
 * Invariant: any range of the output can be filled on its own, so that a transfer goes on from wherever it stopped.
 */
import { CheckpointIncompatibleError } from '../../errors.ts';
import { bytesPerElement, type Dtype } from '../../model/dtype.ts';
import type { Storage, Tensor } from '../../model/header.ts';
import type { PlannedTensor } from '../../model/plan.ts';
import type { StorageReader } from './storage-reader.ts';
import { stridedFill } from './strided-reader.ts';

/** Fills `target` with output bytes from `offset`, both multiples of the element size. */
export type TensorFill = (offset: number, target: Uint8Array, signal?: AbortSignal) => Promise<void>;

/** True where the published bytes are the stored ones: contiguous, and of no other dtype or order. */
export function isAsStored({ dtype, origin }: PlannedTensor, storage: Storage): boolean {
  return (
    dtype === origin.dtype &&
    origin.stride === undefined &&
    origin.conjugate !== true &&
    origin.negative !== true &&
    storage.byteOrder === undefined
  );
}

/** From the first byte of a storage that a tensor shows to the last. */
export function spanOf({ dtype, shape, stride, offset }: Tensor): { readonly start: number; readonly end: number } {
  const size = bytesPerElement(dtype);
  const start = offset * size;
  if (shape.includes(0)) return { start, end: start };
  const elements =
    stride === undefined
      ? shape.reduce((product, extent) => product * extent, 1)
      : shape.reduce((sum, extent, axis) => sum + (extent - 1) * stride[axis]!, 1);
  return { start, end: start + elements * size };
}

export function tensorFill(reader: StorageReader, storage: Storage, tensor: Tensor): TensorFill {
  const { dtype, offset: first, stride } = tensor;
  const size = bytesPerElement(dtype);
  const start = first * size;
  const fill: TensorFill =
    stride === undefined
      ? (offset, target, signal) => reader.readInto(start + offset, target, signal)
      : stridedFill(reader, { shape: tensor.shape, stride, offset: first, size });
  const swap = storage.byteOrder === 'big' ? numberSize(dtype) : 1;
  if (swap === 1 && tensor.conjugate !== true && tensor.negative !== true) return fill;
  const signs = [
    ...(tensor.conjugate === true ? [signBits(dtype, 'imaginary')] : []),
    ...(tensor.negative === true ? [signBits(dtype, 'all')] : []),
  ];
  return async (offset, target, signal) => {
    await fill(offset, target, signal);
    if (swap > 1) swapBytes(target, swap);
    for (const { first: at, step } of signs) for (let byte = at; byte < target.length; byte += step) target[byte]! ^= 0x80;
  };
}

const COMPLEX: readonly Dtype[] = ['C32', 'BC32', 'C64', 'C128'];
const FLOATS: readonly Dtype[] = ['F16', 'BF16', 'F32', 'F64'];

/** Of the others, what torch negates. */
const RESOLVABLE: readonly Dtype[] = ['I8', 'I16', 'I32', 'I64', 'U8'];

/** Bytes of one number: half of an element for complex kinds. */
function numberSize(dtype: Dtype): number {
  const size = bytesPerElement(dtype);
  return COMPLEX.includes(dtype) ? size / 2 : size;
}

/** Where the bytes with the signs lie: floats keep them in their highest bit, complex kinds the imaginary number second. */
function signBits(dtype: Dtype, which: 'all' | 'imaginary'): { readonly first: number; readonly step: number } {
  const size = numberSize(dtype);
  if (COMPLEX.includes(dtype)) return which === 'all' ? { first: size - 1, step: size } : { first: 2 * size - 1, step: 2 * size };
  if (which === 'all' && FLOATS.includes(dtype)) return { first: size - 1, step: size };
  throw new CheckpointIncompatibleError(
    `A lazily ${which === 'all' ? 'negated' : 'conjugated'} view of dtype ${dtype} has no plain form here. ${advice(dtype)}`,
    { details: { dtype } },
  );
}

/** What torch can do about it: many dtypes it cannot negate, and such a view of one cannot be copied or cast as it is (torch 2.15). */
function advice(dtype: Dtype): string {
  if (RESOLVABLE.includes(dtype)) return 'Save tensor.resolve_neg().resolve_conj() instead.';
  if (dtype.startsWith('F8')) return 'torch cannot resolve it: save torch._neg_view(tensor).to(torch.float32).neg() instead.';
  return 'torch cannot resolve it: save torch._neg_view(tensor) instead, the numbers as they are stored.';
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size === 2) view.swap16();
  else if (size === 4) view.swap32();
  else view.swap64();
}
