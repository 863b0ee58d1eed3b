/** Which bytes of an output stand in an S3 object of the same store as they are, so that the store can copy them itself. */
import { segmentLength, type Layout } from '../../formats/layout.ts';
import { bytesPerElement } from '../../model/dtype.ts';
import type { Plan, PlannedTensor } from '../../model/plan.ts';
import { isAsStored } from '../copy/tensor-reader.ts';
import type { CopyRun, Run } from './parts.ts';

/** The whole output as runs. `isNear` says which of the plan's files lie in the store. */
export function copyRuns(layout: Layout, plan: Plan, isNear: (file: number) => boolean): readonly Run[] {
  // What follows from the tensors' bytes can only be made where they pass.
  const passes = layout.segments.some(({ kind }) => kind === 'late');
  return layout.segments.map((segment) => ({
    length: segmentLength(segment),
    copy: passes || segment.kind !== 'tensor' ? null : copyRun(layout.tensors[segment.index]!, plan, isNear),
  }));
}

/** Where the store finds a tensor's bytes; null where they must be made. */
export function copyRun(tensor: PlannedTensor, plan: Plan, isNear: (file: number) => boolean): CopyRun | null {
  const { storage: index, offset, dtype } = tensor.origin;
  const storage = plan.storages[index]!;
  const { file, location } = storage;
  if (!isNear(file) || !isAsStored(tensor, storage)) return null;
  const within = offset * bytesPerElement(dtype);
  if (location.kind === 'range') return location.counted === undefined ? { file, member: null, offset: location.offset + within } : null;
  return location.kind === 'member' && location.method === 'stored' ? { file, member: index, offset: within } : null;
}
