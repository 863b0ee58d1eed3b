/**
 * In which order tensors stand in a file that a store copies for the most part.
 *
 * A part of an upload has 5 MiB at least, so a small tensor between two large ones costs both of them bytes that must be sent. Behind
 * the small ones of their dtype, large ones are copied whole. Tensors that lie side by side in the source, too, go as one.
 */
import { bytesPerElement, tensorBytes } from '../../model/dtype.ts';
import type { Plan } from '../../model/plan.ts';
import { isAsStored } from '../tensor-reader.ts';
import { PART_LEAST } from './parts.ts';

/** `order` lists the plan's tensors by dtype; `isNear` says which of its files lie in the store. */
export function copyOrder(plan: Plan, order: readonly number[], isNear: (file: number) => boolean): readonly number[] {
  const dtypes: { readonly dtype: string; readonly sent: number[]; readonly copied: number[] }[] = [];
  for (const unit of unitsOf(plan, order, isNear)) {
    const { dtype } = plan.tensors[unit.members[0]!]!;
    let group = dtypes.at(-1);
    if (group?.dtype !== dtype) dtypes.push((group = { dtype, sent: [], copied: [] }));
    (unit.end !== null && unit.length >= PART_LEAST ? group.copied : group.sent).push(...unit.members);
  }
  return dtypes.flatMap(({ sent, copied }) => [...sent, ...copied]);
}

interface Unit {
  readonly members: number[];
  length: number;
  readonly file: number;
  /** Where it ends in its file; null: it must be made. */
  end: number | null;
}

/** Tensors that lie side by side both here and in the source. */
function unitsOf(plan: Plan, order: readonly number[], isNear: (file: number) => boolean): readonly Unit[] {
  const units: Unit[] = [];
  for (const index of order) {
    const { dtype, shape, origin } = plan.tensors[index]!;
    const storage = plan.storages[origin.storage]!;
    const { file, location } = storage;
    const length = tensorBytes(dtype, shape);
    const stored = location.kind === 'range' ? location.counted === undefined : location.kind === 'member' && location.method === 'stored';
    const copied = stored && isNear(file) && isAsStored(plan.tensors[index]!, storage);
    // Where exactly a member's bytes begin, only its own header tells: one is never told to follow another.
    const start = !copied ? null : location.kind === 'range' ? location.offset + origin.offset * bytesPerElement(dtype) : Number.NaN;
    const last = units.at(-1);
    const follows = last !== undefined && last.file === file && last.end === start && plan.tensors[last.members[0]!]!.dtype === dtype;
    if (!follows) {
      units.push({ members: [index], length, file, end: start === null ? null : start + length });
      continue;
    }
    last.members.push(index);
    last.length += length;
    last.end = start === null ? null : start + length;
  }
  return units;
}
