/** A workspace in an S3 store: the same blobs under the same names as in a folder. */
import { CheckpointNotFoundError } from '../../errors.ts';
import { destinationOf, outputUri } from '../publish/destination.ts';
import type { Storage } from '../storage/storage.ts';
import { jsonBlobs, type JsonBlobs } from './json-blobs.ts';

export function openStoreWorkspace(uri: string, storage: Storage, signal?: AbortSignal): JsonBlobs {
  const root = outputUri(uri.replace(/\/+$/, ''));
  const files = destinationOf(storage, root, signal);
  const uriOf = (sha256: string): string => `${root}/blobs/${sha256.slice(0, 2)}/${sha256}.json`;
  return jsonBlobs({
    uriOf,
    async read(blob) {
      const text = await files.read(blob);
      if (text !== null) return text;
      throw new CheckpointNotFoundError(
        `There is no ${blob} in the run's workspace. All workers of a queue must share one workspace, and nothing but \`ckpt gc\` should clear it up.`,
        blob,
      );
    },
    // Always written, even if it is there: checking that it is intact would cost a read of all of it.
    write: async (sha256, text) =>
      void (await files.write(uriOf(sha256), Buffer.from(text.buffer, text.byteOffset, text.length).toString('utf8'))),
  });
}
