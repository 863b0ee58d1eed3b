/**
 * The CRC-32 of stored members of archives, compared when all their bytes have passed, whoever reads them, in whatever order and for
 * whichever tensors: a damaged byte is told though its tensor is cast, a view, or one of many in a storage.
 *
 * Invariant: a storage is `told` only where every byte of its member has passed and has the sum that the archive says, or where there is
 * nothing to compare. Deflated members are compared by who inflates them.
 */
import { CheckpointLoadError } from '../../errors.ts';
import type { ArchiveMember, Storage } from '../../model/header.ts';
import type { Plan, PlannedTensor } from '../../model/plan.ts';
import { crc32Of } from './crc32.ts';
import { pieceSum, type PieceSum, type Stretch } from './piece-sum.ts';

/** Names that a message lists, and that its details do. */
const NAMES_SHOWN = 5;
const NAMES_MOST = 50;

/** A member whose bytes are not those that it was archived with. */
export interface Damage {
  readonly error: CheckpointLoadError;
  /** Of the tensors that lie in it. */
  readonly names: string;
  readonly storage: Storage;
  /** CRC-32 of the bytes that came. */
  readonly sum: number;
}

/** Reads a storage by offset. */
interface Reads {
  readInto(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
}

export interface MemberSums {
  /** Whether the bytes of a storage need not pass, or not any more. */
  isTold(storage: number): boolean;
  /** Bytes `from` to `to` of `bytes`, as they stand at `offset` of a storage; `own`: their CRC-32, if it is known. Throws where they are the last, and the sum is another. */
  pass(storage: number, offset: number, bytes: Uint8Array, from: number, to: number, own?: number): void;
  /** Of all bytes of a storage, which have passed one after the other; throws the same. */
  passAll(storage: number, sum: number): void;
  /** The same reader, all that is read by which passes. */
  watch<Reader extends Reads>(storage: number, reader: Reader): Reader;
  /** Whether some bytes of a storage have passed, and not all. */
  isBegun(storage: number): boolean;
  /** What of a storage has not passed. */
  missing(storage: number): readonly Stretch[];
  /** What was thrown for last; null: nothing. */
  damage(): Damage | null;
}

/** `tensors`: those that are read, for their names. */
export function memberSums({ files, storages }: Pick<Plan, 'files' | 'storages'>, tensors: readonly PlannedTensor[]): MemberSums {
  /** Of what has passed of those that come in pieces, by storage. */
  const sums: (PieceSum | undefined)[] = [];
  const told = new Uint8Array(storages.length);
  let damage: Damage | null = null;

  function compare(index: number, { name: member, crc32 }: ArchiveMember, sum: number): void {
    sums[index] = undefined;
    if (sum === crc32) {
      told[index] = 1;
      return;
    }
    const storage = storages[index]!;
    const { uri } = files[storage.file]!;
    const inIt = tensors.filter(({ origin }) => origin.storage === index).map(({ name }) => name);
    const rest = inIt.length - NAMES_SHOWN;
    const names = `${inIt.slice(0, NAMES_SHOWN).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
    const error = new CheckpointLoadError(
      `${uri}: the bytes of ${names} are damaged: CRC-32 of the member ${member} is ${sum.toString(16)}, the archive says ${crc32.toString(16)}. Copy the file again from where it came.`,
      uri,
      { details: { tensor: inIt[0]!, member, ...(inIt.length > 1 ? { tensors: inIt.slice(0, NAMES_MOST) } : {}) } },
    );
    damage = { error, names, storage, sum };
    throw error;
  }

  function pass(index: number, offset: number, bytes: Uint8Array, from: number, to: number, own?: number): void {
    const { location, length } = storages[index]!;
    if (!isSummed(location) || told[index] === 1) return;
    if (sums[index] === undefined && to - from === length) return compare(index, location, own ?? crc32Of(bytes, from, to));
    const pieces = (sums[index] ??= pieceSum(length));
    pieces.add(offset, bytes, from, to, own);
    const sum = pieces.whole();
    if (sum !== undefined) compare(index, location, sum);
  }

  return {
    isTold: (index) => told[index] === 1 || !isSummed(storages[index]!.location),
    pass,
    passAll(index, sum) {
      const { location } = storages[index]!;
      if (isSummed(location)) compare(index, location, sum);
    },
    watch(index, reader) {
      if (!isSummed(storages[index]!.location)) return reader;
      return {
        ...reader,
        async readInto(offset, target, signal) {
          await reader.readInto(offset, target, signal);
          pass(index, offset, target, 0, target.length);
        },
      };
    },
    isBegun: (index) => sums[index] !== undefined && told[index] !== 1,
    missing(index) {
      if (told[index] === 1) return [];
      const missing = sums[index]?.missing();
      if (missing !== undefined && missing !== null) return missing;
      // All of it anew.
      sums[index] = undefined;
      return [{ offset: 0, length: storages[index]!.length }];
    },
    damage: () => damage,
  };
}

/** Whether an archive says what the bytes in it should be. */
export function isSummed(location: Storage['location']): location is ArchiveMember {
  return location.kind === 'member' && location.method === 'stored' && location.crc32 !== 0;
}
