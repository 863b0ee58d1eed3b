/** CRC-32 of the tensors as they pass, for those whose archive says what it should be and for layouts that write it. */
import { CheckpointLoadError } from '../../errors.ts';
import type { Layout } from '../../formats/layout.ts';
import type { Storage } from '../../model/header.ts';
import type { Plan } from '../../model/plan.ts';
import { isWholeStorage } from '../copy/tensor-reader.ts';
import { JOIN_FROM, joinCrc32 } from './crc32-join.ts';
import { crc32Of } from './crc32.ts';

/** A tensor whose bytes are not those of its archive. */
export interface Damage {
  readonly error: CheckpointLoadError;
  readonly name: string;
  /** Holds the bytes of that tensor alone, as they are. */
  readonly storage: Storage;
  /** CRC-32 of the bytes that came. */
  readonly sum: number;
}

export interface TensorSums {
  /**
   * Adds bytes `from` to `to` of `bytes`, the next of a segment in order; returns their CRC-32 if it was computed (for few bytes it is not). Throws
   * `CheckpointLoadError` at the last byte of a damaged tensor.
   */
  add(
    segment: { readonly index: number; readonly length: number },
    offset: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): number | undefined;
  /** What `add` has thrown for last; null: nothing. */
  damage(): Damage | null;
  /** Of a tensor that has passed, where the layout has late segments. */
  of(index: number): number;
}

export function tensorSums(layout: Layout, plan: Plan): TensorSums {
  const wanted = layout.segments.some(({ kind }) => kind === 'late');
  const found = new Map<number, number>();
  let sum = 0;
  let expected = 0;
  let damage: Damage | null = null;

  /** What the archive says of exactly these bytes; 0: nothing. */
  function expectedOf({ index, length }: { readonly index: number; readonly length: number }): number {
    const { dtype, origin } = layout.tensors[index]!;
    const storage = plan.storages[origin.storage]!;
    const { location } = storage;
    const told = location.kind === 'member' && location.method === 'stored' && dtype === origin.dtype;
    return told && isWholeStorage(storage, origin, length) ? location.crc32 : 0;
  }

  return {
    add(segment, offset, bytes, from, to) {
      if (offset === 0) {
        sum = 0;
        expected = expectedOf(segment);
      }
      if (expected === 0 && !wanted) return undefined;
      const length = to - from;
      const own = offset === 0 || length >= JOIN_FROM ? crc32Of(bytes, from, to) : undefined;
      sum = own === undefined ? crc32Of(bytes, from, to, sum) : offset === 0 ? own : joinCrc32(sum, own, length);
      if (offset + length < segment.length) return own;
      if (wanted) found.set(segment.index, sum);
      if (expected === 0 || sum === expected) return own;
      const { name, origin } = layout.tensors[segment.index]!;
      const storage = plan.storages[origin.storage]!;
      const { uri } = plan.files[storage.file]!;
      const error = new CheckpointLoadError(
        `${uri}: the bytes of ${name} are damaged: CRC-32 is ${sum.toString(16)}, the archive says ${expected.toString(16)}. Copy the file again from where it came.`,
        uri,
        { details: { tensor: name } },
      );
      damage = { error, name, storage, sum };
      throw error;
    },
    damage: () => damage,
    of: (index) => found.get(index)!,
  };
}
