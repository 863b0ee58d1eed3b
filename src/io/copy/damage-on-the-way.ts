/**
 * Whether bytes that came damaged from a store are so in the file: found out by reading them once more, as a proxy or a cable may have changed them.
 *
 * A file that is damaged itself gives the same bytes again. Whoever gets others begins anew: nothing says which of what came before was right.
 */
import { CheckpointSourceError, isCheckpointError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { crc32Of } from '../digests/crc32.ts';
import type { Plan } from '../../model/plan.ts';
import type { Damage } from '../digests/member-sums.ts';
import { isFar } from './block-reads.ts';
import type { OpenFiles } from './open-files.ts';
import { openStorage } from './storage-reader.ts';

const ON_THE_WAY = 'DamagedOnTheWay';

interface Transferred {
  readonly plan: Pick<Plan, 'files'>;
  readonly files: OpenFiles<ByteSource>;
  readonly memory: Uint8Array;
  readonly signal: AbortSignal;
}

/** True of the error that says so: what was written of these bytes is not to be gone on with. */
export function cameDamaged(error: unknown): boolean {
  return isCheckpointError(error) && error.details['code'] === ON_THE_WAY;
}

/** What a transfer ends in: of a member that came damaged from afar, what another read of it finds out. `memory` is what it is read into. */
export async function explained(error: unknown, damage: Damage | null, { plan, files, memory, signal }: Transferred): Promise<unknown> {
  if (damage === null || damage.error !== error || !isFar({ files: [plan.files[damage.storage.file]!] })) return error;
  try {
    return await explainDamage(damage, await files.source(damage.storage.file), memory, signal);
  } catch (failure) {
    // Where it cannot be read again, that is what is wrong.
    return failure;
  }
}

/** The error for a damaged member. Read piece by piece. */
async function explainDamage(
  { error, names, storage, sum }: Damage,
  source: ByteSource,
  memory: Uint8Array,
  signal: AbortSignal,
): Promise<Error> {
  let again = 0;
  const reader = await openStorage(source, storage);
  try {
    for (let offset = 0; offset < storage.length; offset += memory.length) {
      const length = Math.min(memory.length, storage.length - offset);
      await reader.readInto(offset, memory.subarray(0, length), signal);
      again = crc32Of(memory, 0, length, again);
    }
  } finally {
    reader.close();
  }
  if (again === sum) return error;
  return new CheckpointSourceError(
    `${source.uri}: the bytes of ${names} came damaged: their CRC-32 was ${sum.toString(16)}, and ${again.toString(16)} when they were read again. Something on the way changes them; look at the proxies and the network between.`,
    source.uri,
    { cause: error, retryable: true, details: { ...error.details, code: ON_THE_WAY } },
  );
}
