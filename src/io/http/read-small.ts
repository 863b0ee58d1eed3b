/** Small files on web servers, as a whole. */
import { isCheckpointError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { SMALL_MOST } from '../local/local-file.ts';

/** What servers say of a file that is not there; some hide it from those who may not list its folder. */
const NONE = [403, 404, 410];

/** The text of a small file (`SMALL_MOST` bytes at most); null if the server says that there is none. `open` applies the fences and the limit. */
export async function readSmallHttp(open: (uri: string, most: number) => Promise<ByteSource>, uri: string): Promise<string | null> {
  const source = await open(uri, SMALL_MOST).catch((error: unknown) => {
    if (isCheckpointError(error) && NONE.includes(Number(error.details['status']))) return null;
    throw error;
  });
  if (source === null) return null;
  try {
    return new TextDecoder().decode(await source.read(0, source.size));
  } finally {
    await source.close();
  }
}
