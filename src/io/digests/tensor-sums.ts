/** CRC-32 of the tensors as they pass, for members whose archive says what it should be and for layouts that write it. */
import type { Layout } from '../../formats/layout.ts';
import { bytesPerElement } from '../../model/dtype.ts';
import type { Plan } from '../../model/plan.ts';
import { isAsStored } from '../copy/tensor-reader.ts';
import { JOIN_FROM, joinCrc32 } from './crc32-join.ts';
import { crc32Of } from './crc32.ts';
import { isSummed, type MemberSums } from './member-sums.ts';

export interface TensorSums {
  /**
   * Adds bytes `from` to `to` of `bytes`, the next of a segment in order; returns their CRC-32 if it was computed (for few bytes it is not). Throws
   * `CheckpointLoadError` at the last byte of a damaged member.
   */
  add(
    segment: { readonly index: number; readonly length: number },
    offset: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): number | undefined;
  /** Of a tensor that has passed, where the layout has late segments. */
  of(index: number): number;
}

/** What a tensor's bytes, as they are published, are of its member. */
type Share =
  /** Nothing that is to be compared: it says nothing of them, they were changed on their way, or they have all passed before. */
  | 'none'
  /** All bytes, in order. */
  | 'whole'
  | 'part';

export function tensorSums(layout: Layout, plan: Pick<Plan, 'storages'>, members: MemberSums): TensorSums {
  const wanted = layout.segments.some(({ kind }) => kind === 'late');
  const found = new Map<number, number>();
  let sum = 0;
  let share: Share = 'none';

  function shareOf({ index, length }: { readonly index: number; readonly length: number }): Share {
    const tensor = layout.tensors[index]!;
    const { origin } = tensor;
    const storage = plan.storages[origin.storage]!;
    if (!isSummed(storage.location) || !isAsStored(tensor, storage)) return 'none';
    if (origin.offset === 0 && length === storage.length) return 'whole';
    return members.isTold(origin.storage) ? 'none' : 'part';
  }

  return {
    add(segment, offset, bytes, from, to) {
      if (offset === 0) {
        sum = 0;
        share = shareOf(segment);
      }
      if (share === 'none' && !wanted) return undefined;
      const length = to - from;
      const isOne = wanted || share === 'whole';
      let own: number | undefined;
      if (length >= JOIN_FROM ? isOne || share === 'part' : isOne && offset === 0) own = crc32Of(bytes, from, to);
      if (isOne) sum = own === undefined ? crc32Of(bytes, from, to, sum) : offset === 0 ? own : joinCrc32(sum, own, length);
      if (share === 'part') {
        const { dtype, storage, offset: first } = layout.tensors[segment.index]!.origin;
        members.pass(storage, first * bytesPerElement(dtype) + offset, bytes, from, to, own);
      }
      if (offset + length < segment.length) return own;
      if (wanted) found.set(segment.index, sum);
      if (share === 'whole') members.passAll(layout.tensors[segment.index]!.origin.storage, sum);
      return own;
    },
    of: (index) => found.get(index)!,
  };
}
