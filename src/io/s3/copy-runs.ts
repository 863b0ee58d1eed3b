/** Which bytes of an output stand in an S3 object of the same store as they are, so that the store can copy them itself. */
import { segmentLength, type Layout } from '../../formats/layout.ts';
import { dataOffset } from '../../formats/zip/archive.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { bytesPerElement } from '../../model/dtype.ts';
import type { Plan, PlannedTensor } from '../../model/plan.ts';
import { isAsStored } from '../tensor-reader.ts';
import { PART_LEAST, type Run } from './parts.ts';

/** Local headers of archives that are read at a time. */
const AT_ONCE = 8;

/** The whole output as runs. `isNear` says which of the plan's files lie in the store; `open` opens one of them. */
export async function copyRuns(
  layout: Layout,
  plan: Plan,
  isNear: (file: number) => boolean,
  open: (file: number) => Promise<ByteSource>,
): Promise<readonly Run[]> {
  const runs: Run[] = layout.segments.map((segment) => ({ length: segmentLength(segment), copy: null }));
  // What follows from the tensors' bytes can only be made where they pass.
  if (layout.segments.some(({ kind }) => kind === 'late')) return runs;
  const wanted = layout.segments.flatMap((segment, index) => {
    if (segment.kind !== 'tensor') return [];
    const tensor = layout.tensors[segment.index]!;
    return isNear(plan.storages[tensor.origin.storage]!.file) && isAsStored(tensor, plan.storages[tensor.origin.storage]!)
      ? [{ index, tensor, length: segment.length }]
      : [];
  });
  let next = 0;
  const work = async (): Promise<void> => {
    for (let each = wanted[next++]; each !== undefined; each = wanted[next++]) {
      const { tensor, index, length } = each;
      const offset = await placeOf(tensor, plan, length, open);
      if (offset !== null) runs[index] = { length, copy: { file: plan.storages[tensor.origin.storage]!.file, offset } };
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return runs;
}

/** Where in its file a tensor begins; null where that takes more than it is worth (less than a part of S3 is never copied), or it is packed. */
async function placeOf(
  { origin }: PlannedTensor,
  plan: Plan,
  length: number,
  open: (file: number) => Promise<ByteSource>,
): Promise<number | null> {
  const { location, file, length: size } = plan.storages[origin.storage]!;
  const within = origin.offset * bytesPerElement(origin.dtype);
  if (location.kind === 'range') return location.counted === undefined ? location.offset + within : null;
  if (location.kind !== 'member' || location.method !== 'stored' || length < PART_LEAST) return null;
  const { name, method, flags, stored: compressed, crc32, header, end } = location;
  return within + (await dataOffset(await open(file), { name, method, flags, crc32, compressed, size, header, end }));
}
