/** Whether a place can be read or written, as far as can be told without reading or writing it. */
import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CheckpointConfigError } from '../errors.ts';
import type { ByteSource } from '../model/byte-source.ts';
import { localPath } from './local-file.ts';

/** Throws what opening the place would throw; gives its size. A local file that is there and may be read is not opened. */
export async function checkReadable(uri: string, open: (uri: string) => Promise<ByteSource>): Promise<number> {
  if (isLocal(uri)) {
    const path = localPath(uri);
    const stats = await Promise.all([stat(path), access(path, constants.R_OK)]).then(
      ([found]) => found,
      () => null,
    );
    if (stats?.isFile() === true) return stats.size;
  }
  const source = await open(uri);
  const { size } = source;
  await source.close();
  return size;
}

/** Milliseconds for which what was found of a folder holds: a batch asks of the same one for each item. */
const FOLDER_HOLDS = 5000;
const FOLDERS_MOST = 1000;
/** Folders that are there and may be written, with the free bytes of then. */
const writable = new Map<string, { readonly at: number; readonly free: number }>();

/**
 * Throws `CheckpointConfigError` where a file cannot be published: its folder, or the one it would be made in, is none or may not
 * be written. Gives the free bytes there, or null for a store, which says when it is written to.
 */
export async function checkWritable(uri: string): Promise<number | null> {
  if (!isLocal(uri)) return null;
  const path = localPath(uri);
  const there = await stat(path).catch(() => null);
  if (there?.isDirectory() === true) throw new CheckpointConfigError(`${path} is a folder; \`uri\` must name the file to write.`);
  const known = writable.get(dirname(path));
  if (known !== undefined && performance.now() - known.at < FOLDER_HOLDS) return known.free;
  const folder = await nearestFolder(path);
  await access(folder, constants.W_OK | constants.X_OK).catch((cause: Error) => {
    throw unwritable(path, cause);
  });
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (writable.size >= FOLDERS_MOST) writable.clear();
  if (folder === dirname(path)) writable.set(folder, { at: performance.now(), free });
  return free;
}

/** The folder of a file, or the first above it that is there: those between will be made. */
async function nearestFolder(path: string): Promise<string> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const stats = await stat(folder).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return null;
      throw unwritable(path, cause);
    });
    if (stats?.isDirectory() === true) return folder;
    if (stats !== null || dirname(folder) === folder) throw unwritable(path, new Error(`${folder} is no folder`));
  }
}

function unwritable(path: string, cause: Error): CheckpointConfigError {
  return new CheckpointConfigError(
    `${path} cannot be written: ${cause.message}. Choose another \`uri\`, or change the permissions.`,
    undefined,
    {
      cause,
    },
  );
}

function isLocal(uri: string): boolean {
  return uri.startsWith('file://') || !/^[a-z][a-z0-9+.-]*:\/\//i.test(uri);
}
