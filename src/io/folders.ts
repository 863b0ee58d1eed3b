/**
 * Folders made with those above them.
 *
 * Not by Node's recursive `mkdir`: that never ends where a file system says of a folder whose parent is there that it is not, as
 * /proc does.
 */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes the folder where it is not there; gives the first that it had to make. Throws as `mkdir` does. */
export async function makeFolder(path: string): Promise<string | undefined> {
  const missing: string[] = [];
  for (let at = path; (await isThere(at)) === false; at = dirname(at)) missing.push(at);
  if (missing.length === 0 && !(await stat(path)).isDirectory()) await mkdir(path);
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

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (dirname(path) === path || !['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return false;
  }
}
