/**
 * In which order tensors stand in a file that a store copies for the most part.
 *
 * A part of an upload has 5 MiB at least, so a small tensor between two large ones costs both of them bytes that must be sent. Behind
 * the small ones of their dtype, large ones are copied whole. Tensors that lie side by side in the source, too, go as one.
 */
import { tensorBytes } from '../../model/dtype.ts';
import type { Plan } from '../../model/plan.ts';
import { copyRun } from './copy-runs.ts';
import { goesOn, PART_LEAST, type CopyRun } from './parts.ts';

/** `order` lists the plan's tensors by dtype; `isNear` says which of its files lie in the store. */
export function copyOrder(plan: Plan, order: readonly number[], isNear: (file: number) => boolean): readonly number[] {
  const dtypes: { readonly dtype: string; readonly sent: number[]; readonly copied: number[] }[] = [];
  for (const unit of unitsOf(plan, order, isNear)) {
    const { dtype } = plan.tensors[unit.members[0]!]!;
    let group = dtypes.at(-1);
    if (group?.dtype !== dtype) dtypes.push((group = { dtype, sent: [], copied: [] }));
    (unit.copy !== null && unit.length >= PART_LEAST ? group.copied : group.sent).push(...unit.members);
  }
  return dtypes.flatMap(({ sent, copied }) => [...sent, ...copied]);
}

interface Unit {
  readonly members: number[];
  length: number;
  /** Where it begins in its file; null: it must be made. */
  readonly copy: CopyRun | null;
}

/** Tensors that lie side by side both here and in the source. */
function unitsOf(plan: Plan, order: readonly number[], isNear: (file: number) => boolean): readonly Unit[] {
  const units: Unit[] = [];
  for (const index of order) {
    const tensor = plan.tensors[index]!;
    const { dtype, shape } = tensor;
    const length = tensorBytes(dtype, shape);
    const copy = copyRun(tensor, plan, isNear);
    const last = units.at(-1);
    const follows = last !== undefined && last.copy !== null && copy !== null && goesOn(last.copy, last.length, copy);
    if (follows && plan.tensors[last.members[0]!]!.dtype === dtype) {
      last.members.push(index);
      last.length += length;
    } else units.push({ members: [index], length, copy });
  }
  return units;
}
