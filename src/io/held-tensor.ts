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
  const { location, length } = storage;
  const { origin } = tensor;
  const start = origin.offset * bytesPerElement(origin.dtype);
  switch (location.kind) {
    case 'range': {
      if (location.counted !== undefined) return undefined;
      return part(source.held(location.offset), start, bytes);
    }
    case 'member': {
      if (location.method !== 'stored') return undefined;
      const held = source.held(location.header);
      if (held === undefined) return undefined;
      const { name, method, flags, crc32, stored: compressed, header, end } = location;
      const data = heldDataOffset(source.uri, { name, method, flags, crc32, compressed, size: length, header, end }, held);
      return data === undefined ? undefined : part(held, data - header + start, bytes);
    }
    default:
      return undefined;
  }
}

function part(held: Uint8Array | undefined, start: number, length: number): Uint8Array | undefined {
  return held !== undefined && held.length >= start + length ? held.subarray(start, start + length) : undefined;
}
