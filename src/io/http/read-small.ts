/** Small files on web servers, as a whole. */
import { CheckpointLoadError, isCheckpointError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';

/** More than any manifest has: what the server sends instead must not fill the memory. */
const SMALL_MOST = 256 * 2 ** 20;
/** What servers say of a file that is not there; some hide it from those who may not list its folder. */
const NONE = [403, 404, 410];

/** A small file's text, by whatever opens its URL within the fences; null where there is none. */
export async function readSmallHttp(open: (uri: string) => Promise<ByteSource>, uri: string): Promise<string | null> {
  const source = await open(uri).catch((error: unknown) => {
    if (isCheckpointError(error) && NONE.includes(Number(error.details['status']))) return null;
    throw error;
  });
  if (source === null) return null;
  try {
    if (source.size > SMALL_MOST)
      throw new CheckpointLoadError(`${uri} has ${source.size} bytes, at most ${SMALL_MOST} were expected.`, uri);
    return new TextDecoder().decode(await source.read(0, source.size));
  } finally {
    await source.close();
  }
}
