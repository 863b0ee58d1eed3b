/** Whatever is wrong with a file: where it is a pickle with dangerous names, these are what its owner must know. */
import { isCheckpointError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { readPickle } from './read.ts';

/** Of a file that is nothing we know: looked through for a pickle's dangerous names. */
const JUDGED = 1024 * 1024;

/** A pickle of protocol 0 or 1 has no mark at its start. Throws as `readPickle` does where it names something dangerous. */
export async function refuseDangerousPickle(source: ByteSource): Promise<void> {
  const bytes = await source.read(0, Math.min(JUDGED, source.size));
  try {
    readPickle(bytes, { member: 'file', uri: source.uri, more: true, host: { nodes: [], globals: [] } });
  } catch (error) {
    const globals = isCheckpointError(error) ? error.details['globals'] : [];
    if (Array.isArray(globals) && globals.length > 0) throw error;
  }
}
