/**
 * Headers and plans of a deployment's runs, by content: a reference names its bytes, so that a blob is written once, never
 * changed, and verified whenever it is read.
 */
import { hash } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CheckpointLoadError, CheckpointNotFoundError, CheckpointSourceError } from '../errors.ts';
import type { BlobReference } from '../model/context.ts';
import { writeAtomically } from './atomic-file.ts';
import { breath, LONG_WORK } from './breath.ts';
import { columnarJson, parseColumnarJson } from './columnar-json.ts';
import { localPath } from './local-file.ts';

export function openWorkspace(uri: string): {
  putJson(value: unknown): Promise<BlobReference>;
  getJson(reference: BlobReference): Promise<unknown>;
} {
  const root = localPath(uri);
  return {
    async putJson(value) {
      const text = columnarJson(value);
      const size = text.length;
      if (size >= LONG_WORK) await breath();
      const sha256 = sha256Of(text);
      const path = join(root, 'blobs', sha256.slice(0, 2), `${sha256}.json`);
      // What is there is read before it is relied on: a damaged blob is written anew.
      const known = await readFile(path).catch(() => null);
      if (known === null || sha256Of(known) !== sha256) {
        await writeAtomically(path, text).catch((cause: Error) => {
          throw new CheckpointSourceError(
            `The workspace ${root} cannot be written: ${cause.message}. Set CKPT_WORKSPACE to a folder that all workers can write.`,
            root,
            { cause },
          );
        });
      } else {
        // What is used again is young again to who clears up.
        const now = new Date();
        await utimes(path, now, now).catch(() => undefined);
      }
      return { uri: pathToFileURL(path).href, sha256, size };
    },
    async getJson(reference) {
      const path = localPath(reference.uri);
      const text = await readFile(path).catch((cause: Error) => {
        throw new CheckpointNotFoundError(
          `This worker does not see ${path} of the run's workspace (${cause.message}). All workers of a queue must share one workspace.`,
          reference.uri,
          { cause },
        );
      });
      const sha256 = sha256Of(text);
      if (sha256 !== reference.sha256)
        throw new CheckpointLoadError(`${path} was damaged: its SHA-256 is ${sha256}, expected ${reference.sha256}.`, reference.uri);
      const value = parseColumnarJson(text.toString('utf8'));
      if (text.length >= LONG_WORK) await breath();
      return value;
    },
  };
}

function sha256Of(content: Uint8Array): string {
  return hash('sha256', content);
}
