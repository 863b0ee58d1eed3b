/** Files that are written whole or not at all. */
import { randomUUID } from 'node:crypto';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeFolder } from './folders.ts';

/** Milliseconds after which a file that nobody has written to is one of a killed process: others write without a pause. */
const STALE = 5000;

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

/** Removes what killed processes left of the file while they wrote it; others may be writing it now. */
export async function removeStale(path: string): Promise<void> {
  const folder = dirname(path);
  const prefix = `.${basename(path)}.`;
  const names = await readdir(folder).catch(() => []);
  const partials = names.filter((name) => name.startsWith(prefix) && /^[0-9a-f-]{36}\.partial$/.test(name.slice(prefix.length)));
  for (const name of partials) {
    const aside = join(folder, name);
    const stats = await stat(aside).catch(() => null);
    if (stats !== null && Date.now() - stats.mtimeMs > STALE) await rm(aside, { force: true }).catch(() => undefined);
  }
}
