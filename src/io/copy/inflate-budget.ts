/**
 * What a copy may inflate in all: a deflated storage cannot be entered in its middle, so one that is small in the file can cost its whole
 * length for each tensor.
 *
 * Invariant: a storage that is read in a few runs, each forward, is never refused.
 */
import { CheckpointLoadError } from '../../errors.ts';
import type { Layout } from '../../formats/layout.ts';
import type { Plan } from '../../model/plan.ts';

/** Times the bytes of all deflated storages: tensors in the order of their names take up to some eight. */
const TIMES = 16;
/** Whatever the storages: small ones may be inflated for each of their tensors. Some seconds. */
const LEAST = 2 * 2 ** 30;

/** Counts bytes that are about to be inflated; throws `CheckpointLoadError` where they are too many. */
export function inflateBudget(layout: Layout, { storages, files }: Plan): (bytes: number) => void {
  let most: number | undefined;
  let inflated = 0;
  return (bytes) => {
    inflated += bytes;
    if (inflated <= LEAST || inflated <= (most ??= allowed(layout, storages))) return;
    const used = layout.tensors.map(({ origin }) => storages[origin.storage]!).find(({ location }) => isPacked(location));
    const uri = files[used?.file ?? 0]?.uri ?? '';
    throw new CheckpointLoadError(
      `${uri}: reading its compressed members in the order of its tensors would inflate more than ${most} bytes. Load the file and save it again with torch.save, which does not compress.`,
      uri,
    );
  };
}

/** May hold deflated bytes: what an archive inside the file does is known when it is opened. */
function isPacked(location: Plan['storages'][number]['location']): boolean {
  return location.kind === 'member' ? location.method === 'deflated' : location.kind !== 'range';
}

function allowed(layout: Layout, storages: Plan['storages']): number {
  const used = new Set(layout.tensors.map(({ origin }) => origin.storage));
  let bytes = 0;
  for (const index of used) if (isPacked(storages[index]!.location)) bytes += storages[index]!.length;
  return LEAST + TIMES * bytes;
}
