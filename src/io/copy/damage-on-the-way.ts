/**
 * Whether bytes that came damaged from a store are so in the file: found out by reading them once more, as a proxy or a cable may have changed them.
 *
 * A file that is damaged itself gives the same bytes again. Whoever gets others begins anew: nothing says which of what came before was right.
 */
import { CheckpointSourceError, isCheckpointError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { crc32Of } from '../digests/crc32.ts';
import type { Damage } from '../digests/tensor-sums.ts';
import { openStorage } from './storage-reader.ts';

const ON_THE_WAY = 'DamagedOnTheWay';

/** True of the error that says so: what was written of these bytes is not to be gone on with. */
export function cameDamaged(error: unknown): boolean {
  return isCheckpointError(error) && error.details['code'] === ON_THE_WAY;
}

/** The error for a damaged tensor. `memory` is what it is read into, piece by piece. */
export async function explainDamage(
  { error, name, storage, sum }: Damage,
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
    `${source.uri}: the bytes of ${name} came damaged: their CRC-32 was ${sum.toString(16)}, and ${again.toString(16)} when they were read again. Something on the way changes them; look at the proxies and the network between.`,
    source.uri,
    { cause: error, retryable: true, details: { code: ON_THE_WAY, tensor: name } },
  );
}
