/** Bytes of one storage by offset, wherever its container keeps them. A member's local header is checked before its data is believed. */
import { checkCount } from '../formats/torch/legacy.ts';
import { dataOffset } from '../formats/zip/archive.ts';
import type { ByteSource } from '../model/byte-source.ts';
import type { Storage } from '../model/header.ts';
import { inflatingReader } from './inflating-reader.ts';

export interface StorageReader {
  readonly length: number;
  /** Fills `target` with the storage's uncompressed bytes from `offset`. */
  readInto(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  close(): void;
}

export async function openStorage(source: ByteSource, storage: Storage): Promise<StorageReader> {
  const { location, length } = storage;
  if (location.kind === 'range') {
    if (location.counted !== undefined) await checkCount(source, location.counted.at, location.counted.elements);
    return ranged(source, location.offset, length);
  }
  const { name, method, flags, stored: compressed, crc32, header, end } = location;
  const offset = await dataOffset(source, { name, method, flags, crc32, compressed, size: length, header, end });
  return method === 'deflated'
    ? inflatingReader(source, { name, offset, compressed, size: length, crc32 })
    : ranged(source, offset, length);
}

function ranged(source: ByteSource, start: number, length: number): StorageReader {
  return { length, readInto: (offset, target, signal) => source.readInto(start + offset, target, signal), close: () => undefined };
}
