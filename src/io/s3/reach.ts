/** Whether a bucket is there and lets us in, before anything is written to it. */
import type { Storage } from '../storage/storage.ts';
import { StoreFault } from '../store-fault.ts';
import { explainS3 } from './explain.ts';
import { renewing } from './keys.ts';
import { parseS3 } from './location.ts';
import { LISTING_CUT } from './port.ts';

/**
 * One request, tried once, or again with keys that were renewed. Throws what writing would throw where there is no such bucket, no credentials, or no store that answers; who
 * may not list may write all the same.
 */
export async function reachBucket(uri: string, storage: Storage, signal?: AbortSignal): Promise<void> {
  const location = parseS3(uri);
  const port = await storage.s3(uri);
  await renewing(() => port.list(location.bucket, location.key, { flat: true, from: null }, signal)).catch(async (error: unknown) => {
    if (!(error instanceof StoreFault)) throw error;
    if (error.status === 403 || error.code === LISTING_CUT) return;
    const policy = { ...storage.policy, tries: 1 };
    throw await explainS3(error, { port, location, doing: 'writing', policy, signal });
  });
}
