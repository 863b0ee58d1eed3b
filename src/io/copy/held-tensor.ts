/**
 * A small tensor's bytes straight out of memory, where its storage was read together with its neighbours: no promise is made for it,
 * as there may be a hundred thousand of them.
 */
import { heldDataOffset } from '../../formats/zip/local-header.ts';
import { bytesPerElement } from '../../model/dtype.ts';
import type { Storage, StorageLocation } from '../../model/header.ts';
import type { PlannedTensor } from '../../model/plan.ts';
import type { CoalescingSource, Held } from './coalescing-source.ts';
import { isAsStored } from './tensor-reader.ts';

/**
 * Copies the tensor's `length` bytes as they are published into `target`, `at` so many. False, and nothing copied: they are not in memory,
 * or have to be changed on their way. What stands in front of the storage is checked as `openStorage` checks it, and throws the same errors.
 */
export function copyHeld(
  source: CoalescingSource,
  storage: Storage,
  tensor: PlannedTensor,
  length: number,
  target: Uint8Array,
  at: number,
): boolean {
  const { location } = storage;
  if (!isAsStored(tensor, storage) || (location.kind !== 'range' && location.kind !== 'member')) return false;
  const held = source.held(location.kind === 'range' ? location.offset : location.header);
  if (held === undefined) return false;
  const start = startIn(source.uri, location, held);
  if (start === undefined) return false;
  const from = start + tensor.origin.offset * bytesPerElement(tensor.origin.dtype) - held.offset;
  if (from + length > held.bytes.length) return false;
  target.set(held.bytes.subarray(from, from + length), at);
  return true;
}

/** All bytes of a stored member that is in memory. */
export function heldStorage(source: CoalescingSource, { location, length }: Storage): Uint8Array | undefined {
  const held = location.kind === 'member' ? source.held(location.header) : undefined;
  const start = held === undefined ? undefined : startIn(source.uri, location, held);
  if (held === undefined || start === undefined || start + length > held.end) return undefined;
  return held.bytes.subarray(start - held.offset, start - held.offset + length);
}

/** Where a stored member's data begins, where its local header is in memory, checked. Undefined: it takes the long way to say. */
export function heldStart(source: CoalescingSource, storage: Storage): number | undefined {
  const { location } = storage;
  const held = location.kind === 'member' ? source.held(location.header) : undefined;
  return held === undefined ? undefined : startIn(source.uri, location, held);
}

/** Where in the file a storage begins, of which the start, with what stands in front of it, is in memory. */
function startIn(uri: string, location: StorageLocation, held: Held): number | undefined {
  if (location.kind === 'range') return location.counted === undefined ? location.offset : undefined;
  if (location.kind !== 'member' || location.method !== 'stored') return undefined;
  return heldDataOffset(uri, location, held.bytes, location.header - held.offset);
}
