/**
 * A small tensor's bytes straight out of memory, where its storage was read together with its neighbours: no promise is made for it,
 * as there may be a hundred thousand of them.
 */
import { heldDataOffset } from '../formats/zip/archive.ts';
import { bytesPerElement } from '../model/dtype.ts';
import type { Storage } from '../model/header.ts';
import type { PlannedTensor } from '../model/plan.ts';
import type { CoalescingSource } from './coalescing-source.ts';
import { isAsStored } from './tensor-reader.ts';

/**
 * All bytes of the tensor as they are published, or undefined: it is not in memory, or its bytes have to be changed on their way.
 * What stands in front of the storage is checked as `openStorage` checks it, and throws the same errors.
 */
export function heldTensor(source: CoalescingSource, storage: Storage, tensor: PlannedTensor, bytes: number): Uint8Array | undefined {
  if (!isAsStored(tensor, storage)) return undefined;
  const { location } = storage;
  const { origin } = tensor;
  const start = origin.offset * bytesPerElement(origin.dtype);
  switch (location.kind) {
    case 'range': {
      if (location.counted !== undefined) return undefined;
      return part(source.held(location.offset), start, bytes);
    }
    case 'member': {
      const data = heldStart(source, storage);
      return data === undefined ? undefined : part(source.held(location.header), data - location.header + start, bytes);
    }
    default:
      return undefined;
  }
}

/** Where a stored member's data begins, where its local header is in memory, checked. Undefined: it takes the long way to say. */
export function heldStart(source: CoalescingSource, { location, length }: Storage): number | undefined {
  if (location.kind !== 'member' || location.method !== 'stored') return undefined;
  const held = source.held(location.header);
  if (held === undefined) return undefined;
  const { name, method, flags, crc32, stored: compressed, header, end } = location;
  return heldDataOffset(source.uri, { name, method, flags, crc32, compressed, size: length, header, end }, held);
}

function part(held: Uint8Array | undefined, start: number, length: number): Uint8Array | undefined {
  return held !== undefined && held.length >= start + length ? held.subarray(start, start + length) : undefined;
}
