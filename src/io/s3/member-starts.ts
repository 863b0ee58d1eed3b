/**
 * Where zip members begin that a store copies from, looked up while it copies others.
 *
 * Invariant: a start is told once the member's own header agrees with the directory; each is asked for once.
 */
import type { ByteSource } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import { storedAt } from '../copy/storage-reader.ts';
import type { CopyRun } from './parts.ts';

export interface MemberStarts {
  /** What the run's offset counts from, in bytes of its file. */
  of(run: CopyRun): Promise<number>;
  /** Waits until nothing is looked up any more. */
  settled(): Promise<void>;
}

export function memberStarts({ storages }: Plan, open: (file: number) => Promise<ByteSource>): MemberStarts {
  /** By the index of the storage. */
  const starts = new Map<number, Promise<number>>();

  async function lookUp(index: number): Promise<number> {
    const { file, location } = storages[index]!;
    if (location.kind !== 'member') throw new RangeError(`storage ${index} is not a member of an archive`);
    return storedAt(await open(file), location);
  }

  return {
    async of({ member }) {
      if (member === null) return 0;
      const start = starts.get(member) ?? lookUp(member);
      starts.set(member, start);
      return start;
    },
    async settled() {
      await Promise.allSettled(starts.values());
    },
  };
}
