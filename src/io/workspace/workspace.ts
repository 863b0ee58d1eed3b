/** Headers and plans of a deployment's runs, in a folder. */
import { hash } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CheckpointNotFoundError, CheckpointSourceError } from '../../errors.ts';
import { ended } from '../../model/text.ts';
import { writeAtomically } from '../local/atomic-file.ts';
import { identityOf, isAbsent, localPath } from '../local/local-file.ts';
import { jsonBlobs, type JsonBlobs } from './json-blobs.ts';
import { unwritable, type WorkspaceChoice } from './unwritable.ts';

/** Files whose content this process has seen to be right, as they were then. */
const right = new Map<string, string>();
const REMEMBERED = 1000;

export function openWorkspace(uri: string, choice: WorkspaceChoice = 'worker'): JsonBlobs {
  const root = localPath(uri);
  const pathOf = (sha256: string): string => join(root, 'blobs', sha256.slice(0, 2), `${sha256}.json`);
  return jsonBlobs({
    uriOf: (sha256) => pathToFileURL(pathOf(sha256)).href,
    async read(blob) {
      const path = localPath(blob);
      return readFile(path, 'utf8').catch((cause: Error) => {
        if (!isAbsent(cause))
          throw new CheckpointSourceError(`${path} of the run's workspace cannot be read: ${ended(cause.message)}`, blob, { cause });
        throw new CheckpointNotFoundError(
          `This worker does not see ${path} of the run's workspace (${cause.message}). All workers of a queue must share one workspace.`,
          blob,
          { cause },
        );
      });
    },
    async write(sha256, text) {
      const path = pathOf(sha256);
      if (await isRight(path, sha256)) {
        const now = new Date();
        await utimes(path, now, now).catch(() => undefined);
      } else {
        await writeAtomically(path, text).catch((cause: Error) => {
          throw unwritable(root, choice, cause);
        });
      }
      const identity = await identityOf(path);
      if (right.size >= REMEMBERED) right.clear();
      if (identity !== null) right.set(path, identity);
    },
  });
}

/** Read before it is relied on, unless it is the very file that was. */
async function isRight(path: string, sha256: string): Promise<boolean> {
  const identity = await identityOf(path);
  if (identity === null) return false;
  if (right.get(path) === identity) return true;
  const known = await readFile(path).catch(() => null);
  return known !== null && hash('sha256', known) === sha256;
}
