/** Whether what sizes and strides span lies within a storage, and how; numbers of any size are counted right. */
import { EXPANDED_FROM, MAX_DIMENSIONS, MAX_EXPANSION, MAX_TENSOR_BYTES } from '../limits-pickle.ts';
import { PickleSyntaxError } from '../pickle/cursor.ts';

/** Up to here sums and products of elements and bytes are exact. */
const PLAIN_MOST = 2 ** 48;

export function checkRank(shape: readonly number[], stride: readonly number[], position: number): void {
  if (shape.length !== stride.length || shape.length > MAX_DIMENSIONS)
    throw new PickleSyntaxError(`${shape.length} sizes and ${stride.length} strides, at most ${MAX_DIMENSIONS}`, position);
}

/** `size`: bytes of one element; `length`: of the storage. */
export function checkBounds(
  shape: readonly number[],
  stride: readonly number[],
  offset: number,
  size: number,
  length: number,
  position: number,
): void {
  if (fitsPlainly(shape, stride, offset, size, length)) return;
  const elements = shape.reduce((product, each) => product * BigInt(each), 1n);
  const bytes = elements * BigInt(size);
  let last = BigInt(offset);
  for (const [index, each] of shape.entries()) last += BigInt(Math.max(0, each - 1)) * BigInt(stride[index] ?? 0);
  const end = elements === 0n ? 0n : (last + 1n) * BigInt(size);
  if (end > BigInt(length)) throw new PickleSyntaxError(`a tensor reaches byte ${end} of a storage of ${length}`, position);
  if (bytes > BigInt(MAX_TENSOR_BYTES)) throw new PickleSyntaxError(`a tensor of ${bytes} bytes`, position);
  if (bytes > BigInt(EXPANDED_FROM) && bytes > BigInt(length) * BigInt(MAX_EXPANSION))
    throw new PickleSyntaxError(`a tensor of ${bytes} bytes over a storage of ${length}`, position);
}

/** The usual case in plain numbers: no product near 2^53, and no more bytes than the storage has. */
function fitsPlainly(shape: readonly number[], stride: readonly number[], offset: number, size: number, length: number): boolean {
  let elements = 1;
  let last = offset;
  for (let axis = 0; axis < shape.length; axis++) {
    elements *= shape[axis]!;
    last += Math.max(0, shape[axis]! - 1) * stride[axis]!;
    if (elements > PLAIN_MOST || last > PLAIN_MOST) return false;
  }
  return elements > 0 && elements * size <= Math.min(length, MAX_TENSOR_BYTES) && (last + 1) * size <= length;
}

/** Row-major without gaps; the strides of sizes 0 and 1 say nothing. */
export function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  if (shape.includes(0)) return true;
  let expected = 1;
  for (let index = shape.length - 1; index >= 0; index -= 1) {
    const size = shape[index] ?? 1;
    if (size !== 1 && stride[index] !== expected) return false;
    expected *= size;
  }
  return true;
}
