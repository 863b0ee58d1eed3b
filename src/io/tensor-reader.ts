/**
 * A tensor as it is published: contiguous, row-major, little-endian bytes, from any view of any storage.
 *
 * Invariant: any range of the output can be filled on its own, so that a transfer goes on from wherever it stopped; memory is
 * bounded by the page cache, whatever the size of the tensor and its strides.
 */
import { CheckpointIncompatibleError } from '../errors.ts';
import { bytesPerElement, type Dtype } from '../model/dtype.ts';
import type { Storage, Tensor } from '../model/header.ts';
import type { StorageReader } from './storage-reader.ts';

const PAGE = 1024 * 1024;
const PAGES = 64;

export type TensorFill = (offset: number, target: Uint8Array, signal?: AbortSignal) => Promise<void>;

/** True where the output is the whole storage, byte for byte: then the archive's CRC-32 can be checked. */
export function isWholeStorage(storage: Storage, tensor: Tensor, bytes: number): boolean {
  return (
    tensor.offset === 0 &&
    tensor.stride === undefined &&
    storage.byteOrder === undefined &&
    tensor.conjugate !== true &&
    tensor.negative !== true &&
    bytes === storage.length
  );
}

/** Fills `target` with output bytes from `offset`, both multiples of the element size. */
export function tensorFill(reader: StorageReader, storage: Storage, tensor: Tensor): TensorFill {
  const size = bytesPerElement(tensor.dtype);
  const start = tensor.offset * size;
  const fill: TensorFill =
    tensor.stride === undefined
      ? (offset, target, signal) => reader.readInto(start + offset, target, signal)
      : gather(reader, tensor, tensor.stride, size);
  const swap = storage.byteOrder === 'big' ? componentSize(tensor.dtype) : 1;
  if (swap === 1 && tensor.conjugate !== true && tensor.negative !== true) return fill;
  return async (offset, target, signal) => {
    await fill(offset, target, signal);
    if (swap > 1) swapBytes(target, swap);
    if (tensor.conjugate === true) negate(target, tensor.dtype, true);
    if (tensor.negative === true) negate(target, tensor.dtype, false);
  };
}

/** Bytes of one number: half of an element for complex kinds. */
function componentSize(dtype: Dtype): number {
  const size = bytesPerElement(dtype);
  return dtype === 'C64' || dtype === 'C128' || dtype === 'C32' || dtype === 'BC32' ? size / 2 : size;
}

function gather(reader: StorageReader, tensor: Tensor, stride: readonly number[], size: number): TensorFill {
  const page = pages(reader);
  return async (offset, target, signal) => {
    const position = coordinates(Math.floor(offset / size), tensor.shape);
    for (let out = 0; out < target.length; out += size) {
      const element = tensor.offset + position.reduce((sum, at, axis) => sum + at * stride[axis]!, 0);
      const from = element * size;
      const held = page.held(Math.floor(from / PAGE)) ?? (await page.load(Math.floor(from / PAGE), signal));
      const at = from % PAGE;
      for (let byte = 0; byte < size; byte++) target[out + byte] = held[at + byte]!;
      advance(position, tensor.shape);
    }
  };
}

/** Pages of a storage, the least recently used one given up first. Elements never cross a page: both sizes are powers of two. */
function pages(reader: StorageReader) {
  const cache = new Map<number, Uint8Array>();
  let latest = -1;
  return {
    held(index: number): Uint8Array | undefined {
      const bytes = cache.get(index);
      if (bytes !== undefined && index !== latest) {
        cache.delete(index);
        cache.set(index, bytes);
        latest = index;
      }
      return bytes;
    },
    async load(index: number, signal?: AbortSignal): Promise<Uint8Array> {
      const bytes = new Uint8Array(Math.min(PAGE, reader.length - index * PAGE));
      await reader.readInto(index * PAGE, bytes, signal);
      if (cache.size >= PAGES) cache.delete(cache.keys().next().value!);
      cache.set(index, bytes);
      latest = index;
      return bytes;
    },
  };
}

function coordinates(element: number, shape: readonly number[]): number[] {
  const position = shape.map(() => 0);
  let rest = element;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position[axis] = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  return position;
}

function advance(position: number[], shape: readonly number[]): void {
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (++position[axis]! < shape[axis]!) return;
    position[axis] = 0;
  }
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size === 2) view.swap16();
  else if (size === 4) view.swap32();
  else view.swap64();
}

/** Flips the sign of every number, or of the imaginary halves only. Floats and complex kinds keep it in their highest bit. */
function negate(bytes: Uint8Array, dtype: Dtype, imaginaryOnly: boolean): void {
  if (!/^(F64|F32|F16|BF16|C64|C128|C32|BC32)$/.test(dtype))
    throw new CheckpointIncompatibleError(`A lazily negated view of dtype ${dtype} has no plain form here.`, { details: { dtype } });
  const size = componentSize(dtype);
  const step = imaginaryOnly ? 2 * size : size;
  for (let at = imaginaryOnly ? 2 * size - 1 : size - 1; at < bytes.length; at += step) bytes[at]! ^= 0x80;
}
