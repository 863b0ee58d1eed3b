/** Successive loads into one model, laid over each other. */
import { isCastable } from '../model/dtype.ts';
import { appended } from '../model/header.ts';
import type { LeftOut, Plan, PlannedTensor } from '../model/plan.ts';
import type { Target } from '../model/target.ts';
import { sameShape } from './match.ts';

/**
 * What successive loads into one model leave: the later one's transferred tensors win, its fillings only where nothing was. The model is
 * what the later load was judged by: what the earlier one left and does not fit in there is skipped.
 * Training state is the later loader's: weights and optimizer of different loads do not go together.
 */
export function overlaid(earlier: Plan, later: Plan, transferred: ReadonlySet<string>, target: Target | undefined): Plan {
  const moved = (tensor: PlannedTensor): PlannedTensor => ({
    ...tensor,
    origin: { ...tensor.origin, storage: tensor.origin.storage + earlier.storages.length },
  });
  const before = new Map(earlier.tensors.map((tensor) => [tensor.name, tensor]));
  const own = new Map(later.tensors.map((tensor) => [tensor.name, tensor]));
  const wanted: readonly Pick<PlannedTensor, 'name' | 'dtype' | 'shape'>[] = target?.tensors ?? [
    ...later.tensors,
    ...earlier.tensors.filter(({ name }) => !own.has(name)),
  ];
  const skipped: LeftOut[] = [];
  const tensors = wanted.flatMap(({ name, dtype, shape }): readonly PlannedTensor[] => {
    const fresh = own.get(name);
    const old = transferred.has(name) ? undefined : before.get(name);
    // Without a target they are as they come, each for itself.
    if (old !== undefined && target === undefined) return [old];
    if (old !== undefined && sameShape(old.shape, shape) && isCastable(old.origin.dtype, dtype)) return [{ ...old, dtype, shape }];
    if (old !== undefined) skipped.push(leftBehind(old, sameShape(old.shape, shape) ? 'other_kind' : 'shape_mismatch', shape));
    return fresh === undefined ? [] : [moved(fresh)];
  });
  const covered = new Set(tensors.map(({ name }) => name));
  const names = new Set(wanted.map(({ name }) => name));
  for (const tensor of earlier.tensors) if (!names.has(tensor.name)) skipped.push(leftBehind(tensor, 'not_in_target', null));
  return {
    ...later,
    ...appended(earlier, later),
    tensors,
    ...(later.stateTensors === undefined ? {} : { stateTensors: later.stateTensors.map(moved) }),
    ...attachmentsOf(earlier, later),
    skipped: [...later.skipped.filter(({ what }) => !covered.has(what)), ...skipped],
    metadata: { ...earlier.metadata, ...later.metadata },
    ...(earlier.record === undefined ? {} : { record: earlier.record }),
  };
}

/** A tensor of the earlier load. */
function leftBehind({ name, shape }: PlannedTensor, reason: string, wanted: readonly number[] | null): LeftOut {
  return { what: name, reason, details: { source_shape: shape, target_shape: wanted } };
}

/** Those of the later load, or else of the earlier one. */
function attachmentsOf(earlier: Plan, later: Plan): Pick<Plan, 'attachments'> {
  const shift = earlier.storages.length;
  const moved = later.attachments?.map((each) => ('text' in each ? each : { ...each, storage: each.storage + shift }));
  const kept = moved ?? earlier.attachments;
  return kept === undefined ? {} : { attachments: kept };
}
