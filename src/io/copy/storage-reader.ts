/**
 * Bytes of one storage by offset, wherever its container keeps them.
 *
 * Invariant: what stands in front of the data (a member's local header, a count, an archive of its own) is checked before the
 * data is believed.
 */
import { CheckpointLoadError } from '../../errors.ts';
import { readArchivedTensor } from '../../formats/distributed/archived.ts';
import { checkCount } from '../../formats/torch/legacy.ts';
import { dataOffset } from '../../formats/zip/local-header.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { bytesPerElement, tensorBytes } from '../../model/dtype.ts';
import type { Storage, StorageLocation } from '../../model/header.ts';
import { pieceSum, type PieceSum } from '../digests/piece-sum.ts';
import { blockReader } from './block-reader.ts';
import { inflatingReader, type Inflating } from './inflating-reader.ts';
import { tensorFill } from './tensor-reader.ts';

export interface StorageReader {
  readonly length: number;
  /** Fills `target` with the storage's uncompressed bytes from `offset`. */
  readInto(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  close(): void;
}

/** The files of a header or plan, for storages that lie in several. Each is opened anew when its bytes are wanted. */
export interface FileAccess extends Inflating {
  readonly files: readonly PinnedFile[];
  readonly open: (file: number) => Promise<ByteSource>;
}

/** `source` is the storage's file; `access` opens the other files of one that is cut into blocks. */
export async function openStorage(source: ByteSource, storage: Storage, access?: FileAccess): Promise<StorageReader> {
  const { location, length } = storage;
  if (location.kind === 'archive') return archivedReader(source, location, length, access);
  if (location.kind === 'blocks') return blocksReader(source, storage.file, location, access);
  const start = await storedAt(source, location);
  if (location.kind === 'range' || location.method === 'stored') return ranged(source, start, length);
  return inflatingReader(source, location, start, access);
}

/** Where in its file the bytes of a storage begin, once what stands in front of them is checked. */
export async function storedAt(source: ByteSource, location: Extract<StorageLocation, { kind: 'range' | 'member' }>): Promise<number> {
  if (location.kind === 'range') {
    if (location.counted !== undefined) await checkCount(source, location.counted.at, location.counted.elements);
    return location.offset;
  }
  return dataOffset(source, location);
}

/** Bytes that lie in one place as they are. */
export function ranged(source: ByteSource, start: number, length: number): StorageReader {
  return { length, readInto: (offset, target, signal) => source.readInto(start + offset, target, signal), close: () => undefined };
}

/** What was read of the storage in an embedded archive, whoever opened it. */
interface Seen {
  pieces?: PieceSum;
}

/** The contiguous bytes of the tensor in an embedded archive. When all bytes of its storage were read, they are compared with its CRC-32. */
async function archivedReader(
  source: ByteSource,
  location: Extract<StorageLocation, { kind: 'archive' }>,
  length: number,
  access: FileAccess | undefined,
  seen: Seen = {},
): Promise<StorageReader> {
  const { storage, tensor } = await readArchivedTensor(source, location, location);
  // It is read from its start to its end, and a tensor may have a thousand of them.
  const reader = await openStorage(source, storage, access && { ...access, runs: 1 });
  const inner = storage.location;
  const isSummed = inner.kind === 'member' && inner.method === 'stored' && inner.crc32 !== 0;
  const fill = tensorFill(isSummed ? summed(reader, seen, inner.crc32, source.uri, location.offset) : reader, storage, tensor);
  return { length, readInto: fill, close: () => reader.close() };
}

function summed(reader: StorageReader, seen: Seen, told: number, uri: string, position: number): StorageReader {
  const pieces = (seen.pieces ??= pieceSum(reader.length));
  return {
    ...reader,
    async readInto(offset, target, signal) {
      await reader.readInto(offset, target, signal);
      pieces.add(offset, target, 0, target.length);
      const sum = pieces.whole();
      if (sum !== undefined && sum !== told)
        throw new CheckpointLoadError(
          `${uri}: the tensor in the archive at ${position} is damaged: CRC-32 is ${sum.toString(16)}, the archive says ${told.toString(16)}. Copy the file again from where it came.`,
          uri,
          { details: { position } },
        );
    },
  };
}

function blocksReader(
  source: ByteSource,
  file: number,
  { dtype, shape, blocks }: Extract<StorageLocation, { kind: 'blocks' }>,
  access: FileAccess | undefined,
): StorageReader {
  const seen = blocks.map((): Seen => ({}));
  return blockReader({
    shape,
    size: bytesPerElement(dtype),
    blocks,
    open: async (index) => {
      const block = blocks[index]!;
      const { offset, stored, shape: extent, isPlain } = block;
      const held = access === undefined && block.file === file ? source : late(access, block.file);
      if (isPlain === true) return ranged(held, offset, stored);
      const place = { kind: 'archive', dtype, shape: extent, offset, stored } as const;
      return archivedReader(held, place, tensorBytes(dtype, extent), access, seen[index]);
    },
  });
}

/** A file that is looked up for each read, as whoever keeps the files may close one that was not used for long. */
export function late(access: FileAccess | undefined, file: number): ByteSource {
  const pinned = access?.files[file];
  if (access === undefined || pinned === undefined) throw new RangeError(`file ${file} of a tensor in several files cannot be opened here`);
  return {
    ...pinned,
    read: async (offset, length, signal) => (await access.open(file)).read(offset, length, signal),
    readInto: async (offset, target, signal) => (await access.open(file)).readInto(offset, target, signal),
    close: async () => undefined,
  };
}
