/** A workspace in an S3 store: the same blobs under the same names as in a folder. */
import { hash } from 'node:crypto';
import { CheckpointLoadError, CheckpointNotFoundError } from '../errors.ts';
import type { BlobReference } from '../model/context.ts';
import { breath, LONG_WORK } from './breath.ts';
import { columnarJson, parseColumnarJson } from './columnar-json.ts';
import { destinationOf, outputUri } from './destination.ts';
import type { Storage } from './storage/storage.ts';

export function openStoreWorkspace(
  uri: string,
  storage: Storage,
  signal?: AbortSignal,
): { putJson(value: unknown): Promise<BlobReference>; getJson(reference: BlobReference): Promise<unknown> } {
  const root = outputUri(uri.replace(/\/+$/, ''));
  const files = destinationOf(storage, root, signal);
  return {
    async putJson(value) {
      const bytes = columnarJson(value);
      if (bytes.length >= LONG_WORK) await breath();
      const sha256 = hash('sha256', bytes);
      const blob = `${root}/blobs/${sha256.slice(0, 2)}/${sha256}.json`;
      // Written also where it is: a damaged blob is mended, and what is used again is young again to who clears up.
      await files.write(blob, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'));
      return { uri: blob, sha256, size: bytes.length };
    },
    async getJson(reference) {
      const text = await files.read(reference.uri);
      if (text === null)
        throw new CheckpointNotFoundError(
          `There is no ${reference.uri} in the run's workspace. All workers of a queue must share one workspace, and nothing but \`ckpt gc\` should clear it up.`,
          reference.uri,
        );
      const sha256 = hash('sha256', text);
      if (sha256 !== reference.sha256)
        throw new CheckpointLoadError(
          `${reference.uri} was damaged: its SHA-256 is ${sha256}, expected ${reference.sha256}.`,
          reference.uri,
        );
      const value = parseColumnarJson(text);
      if (text.length >= LONG_WORK) await breath();
      return value;
    },
  };
}
