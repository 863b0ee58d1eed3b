/**
 * Folders made with those above them.
 *
 * Not by Node's recursive `mkdir`: that never ends where a file system says of a folder whose parent is there that it is not, as
 * /proc does.
 */
import type { Stats } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isAbsent } from './local-file.ts';

/** What systems answer that cannot put the names of a folder on the disk by themselves, or of one that may be written to and not read. */
const NO_SYNC: readonly string[] = ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'EISDIR', 'EACCES', 'EPERM'];

/** Puts the names in a folder on the disk, where the system bears it: until then a file that was renamed may have its old name after a power failure. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, 'r');
    await folder.sync().finally(() => folder.close());
  } catch (error) {
    if (!NO_SYNC.includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Makes the folder where it is not there; gives the first that it had to make. Throws as `mkdir` does. */
export async function makeFolder(path: string): Promise<string | undefined> {
  const missing: string[] = [];
  let found: Stats | null;
  for (let at = path; (found = await statOrNull(at)) === null; at = dirname(at)) missing.push(at);
  if (missing.length === 0 && !found.isDirectory()) await mkdir(path);
  for (const each of missing.toReversed()) {
    try {
      await mkdir(each);
    } catch (error) {
      // Another may have been faster.
      if (!((error as NodeJS.ErrnoException).code === 'EEXIST' && (await stat(each)).isDirectory())) throw error;
    }
  }
  return missing.at(-1);
}

async function statOrNull(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    if (dirname(path) === path || !isAbsent(error)) throw error;
    return null;
  }
}

/** The same for a folder that is mostly not there, in one that mostly is: in one call then. */
export async function makeNewFolder(path: string): Promise<string | undefined> {
  try {
    await mkdir(path);
    return path;
  } catch (error) {
    if (!['EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return makeFolder(path);
  }
}
