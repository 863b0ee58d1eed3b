/**
 * Files of the same folder, for checkpoints of several files.
 *
 * Invariant: a name never leads out of the folder, nor does a symbolic link, but for the one layout that is made of links: a
 * snapshot of the Hugging Face cache (`snapshots/<revision>/<name>` → `blobs/<digest>`).
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointConfigError, CheckpointLoadError, CheckpointNotFoundError, CheckpointValidationError } from '../errors.ts';
import { isIndexName } from '../formats/sharded/read.ts';
import type { ByteSource, OpenSibling } from '../model/byte-source.ts';
import { localPath, localUri } from './local-file.ts';

/** Of a torch distributed checkpoint. */
const DISTRIBUTED_METADATA = '.metadata';

/** What opens the siblings of `uri` by `open`, whichever scheme it has. */
export function siblingsOf(uri: string, open: (uri: string) => Promise<ByteSource>): OpenSibling {
  return async (name) => {
    if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name))
      throw new CheckpointValidationError(`${JSON.stringify(name)} is no plain file name.`, ['file name']);
    if (!isLocal(uri)) return open(new URL(encodeURIComponent(name), uri).href);
    const path = join(dirname(localPath(uri)), name);
    await checkInside(path);
    return open(localUri(path));
  };
}

/** The file that stands for a folder: its only index of shards, or the metadata of a distributed checkpoint; other paths as they are. */
export async function checkpointFile(uri: string): Promise<string> {
  if (!isLocal(uri)) return uri;
  const path = localPath(uri);
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isDirectory() !== true) return uri;
  const names = await readdir(path);
  const found = names.filter((name) => isIndexName(name) || name === DISTRIBUTED_METADATA).toSorted();
  const [only, second] = found;
  if (only !== undefined && second === undefined) return localUri(join(path, only));
  if (only === undefined)
    throw new CheckpointLoadError(
      `${path} is a folder without an index of shards (*.index.json) or a ${DISTRIBUTED_METADATA} file; name a checkpoint file in it.`,
      path,
    );
  throw new CheckpointConfigError(`${path} is a folder of several checkpoints: ${found.slice(0, 5).join(', ')}. Name the one to read.`);
}

async function checkInside(path: string): Promise<void> {
  const folder = await realpath(dirname(path));
  const target = await realpath(path).catch((cause: NodeJS.ErrnoException) => {
    throw new CheckpointNotFoundError(`${path} does not exist.`, path, { cause });
  });
  const inside = dirname(target) === folder;
  const cached = basename(dirname(folder)) === 'snapshots' && dirname(target) === join(dirname(dirname(folder)), 'blobs');
  if (!inside && !cached)
    throw new CheckpointValidationError(`${path} is a symbolic link out of its folder, to ${target}. Copy the file into the folder.`, [
      'symbolic link out of the folder',
    ]);
  if (!(await stat(target)).isFile()) throw new CheckpointLoadError(`${path} is no regular file.`, path);
}

function isLocal(uri: string): boolean {
  return uri.startsWith('file://') || !/^[a-z][a-z0-9+.-]*:\/\//i.test(uri);
}
