/** Small files on web servers, as a whole. */
import { isCheckpointError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';

/** A manifest of 600 000 tensors, as many as are read, has some 110 MB: what the server sends instead must fill neither memory nor cache. */
const SMALL_MOST = 128 * 2 ** 20;
/** What servers say of a file that is not there; some hide it from those who may not list its folder. */
const NONE = [403, 404, 410];

/** A small file's text, by whatever opens its URL within the fences and takes files of so many bytes; null where there is none. */
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
