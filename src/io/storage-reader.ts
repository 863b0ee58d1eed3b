/** Bytes of one storage by offset, wherever its container keeps them. A member's local header is checked before its data is believed. */
import { CheckpointLoadError } from '../errors.ts';
import { dataOffset, readMember, type Member } from '../formats/zip/archive.ts';
import type { ByteSource } from '../model/byte-source.ts';
import type { Storage } from '../model/header.ts';

/** Deflated storages are inflated whole; torch never writes them, so larger ones are refused (bytes). */
const INFLATED_MAX = 256 * 1024 * 1024;

export interface StorageReader {
  readonly length: number;
  /** Fills `target` with the storage's uncompressed bytes from `offset`. */
  readInto(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
}

export async function openStorage(source: ByteSource, storage: Storage): Promise<StorageReader> {
  const { location, length } = storage;
  if (location.kind === 'range') return ranged(source, location.offset, length);
  const member: Member = {
    name: location.name,
    method: location.method,
    flags: location.flags,
    crc32: location.crc32,
    compressed: location.stored,
    size: length,
    header: location.header,
    end: location.end,
  };
  if (location.method === 'deflated') {
    if (length > INFLATED_MAX) {
      throw new CheckpointLoadError(
        `${source.uri}: member ${location.name} is deflated and has ${length} bytes; at most ${INFLATED_MAX} are inflated. Save the checkpoint again with torch, which stores tensors uncompressed.`,
        source.uri,
      );
    }
    const bytes = await readMember(source, member, INFLATED_MAX);
    return { length, readInto: async (offset, target) => target.set(bytes.subarray(offset, offset + target.length)) };
  }
  return ranged(source, await dataOffset(source, member), length);
}

function ranged(source: ByteSource, start: number, length: number): StorageReader {
  return { length, readInto: (offset, target, signal) => source.readInto(start + offset, target, signal) };
}
