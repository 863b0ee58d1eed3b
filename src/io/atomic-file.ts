/** Files that are written whole or not at all. */
import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeFolder } from './folders.ts';

/** Writes aside, syncs, renames. */
export async function writeAtomically(path: string, content: string | Uint8Array | AsyncIterable<string>): Promise<void> {
  await makeFolder(dirname(path));
  const aside = join(dirname(path), `.${basename(path)}.${randomUUID()}.partial`);
  try {
    const handle = await open(aside, 'wx');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
}
