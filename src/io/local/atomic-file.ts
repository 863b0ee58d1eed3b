/** Files that are written whole or not at all. */
import { randomUUID } from 'node:crypto';
import { open, readdir, rename, rm, rmdir, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointError } from '../../errors.ts';
import { makeFolder, makeNewFolder, syncFolder } from './folders.ts';
import { localIdentity } from './local-file.ts';

/** Milliseconds after which a file that nobody has touched is one of a killed process. */
const STALE = 5000;
/** Milliseconds after which who still writes touches its file: what it writes may be long in coming, or on its way to the disk. */
const TOUCH = 1000;

/** Tries to write into a folder that others remove when it is empty. */
const TRIES = 10;

type Content = string | Uint8Array | AsyncIterable<string>;

/** Writes aside, syncs, renames; both are on the disk then. */
export async function writeAtomically(path: string, content: Content): Promise<void> {
  const folder = dirname(path);
  await makeFolder(folder);
  const aside = join(folder, `.${basename(path)}.${randomUUID()}.partial`);
  await writeBeside(await open(aside, 'wx'), aside, path, content);
}

/**
 * The same, and removes what killed processes left of the file while they wrote it. All of them write in a folder of the file's own,
 * so that nobody has to look for it among its neighbours. Gives the identity of what was written.
 */
export async function rewriteAtomically(path: string, content: Content): Promise<string> {
  const aside = join(asideFolder(path), randomUUID());
  try {
    return await writeBeside(await openIn(asideFolder(path), aside), aside, path, content);
  } finally {
    await removeStale(path);
  }
}

async function writeBeside(handle: FileHandle, aside: string, path: string, content: Content): Promise<string> {
  try {
    let identity: string;
    try {
      await touching(handle, async () => {
        await writeContent(handle, content);
        await handle.sync();
      });
      // As the file will have it: renaming changes neither size, nor time, nor inode.
      identity = localIdentity(await handle.stat({ bigint: true }));
    } finally {
      await handle.close();
    }
    await rename(aside, path);
    await syncFolder(dirname(path));
    return identity;
  } catch (error) {
    await rm(aside, { force: true });
    throw placed(error, path);
  }
}

/** Shows others meanwhile that the file is being written. */
async function touching(handle: FileHandle, write: () => Promise<void>): Promise<void> {
  let touched: Promise<void> | undefined;
  const touch = (): void => {
    const now = new Date();
    touched = handle.utimes(now, now).catch(() => undefined);
  };
  const timer = setInterval(touch, TOUCH);
  await write().finally(() => clearInterval(timer));
  if (touched === undefined) return;
  await touched;
  // Its time is a part of what identifies it.
  await handle.sync();
}

/** What fails on an open file names none. */
function placed(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || 'path' in error) return error;
  return new CheckpointError(`${path} cannot be written: ${error.message}.`, { cause: error, details: { path } });
}

async function writeContent(handle: FileHandle, content: Content): Promise<void> {
  if (typeof content === 'string') return handle.writeFile(content);
  if (content instanceof Uint8Array) return writeWhole(handle, content);
  // A piece is on its way while the next one is made; its memory is used again for that one.
  let memory = Buffer.alloc(0);
  let writing = Promise.resolve();
  for await (const piece of content) {
    await writing;
    const length = Buffer.byteLength(piece);
    if (length > memory.length) memory = Buffer.allocUnsafe(length);
    memory.write(piece);
    writing = writeWhole(handle, memory.subarray(0, length));
    // Waited for with the next piece, or at the end.
    writing.catch(() => undefined);
  }
  await writing;
}

/** At once: `writeFile` would wait for every half a megabyte. */
async function writeWhole(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten;
}

/** Another writer may be done with the folder, and remove it, just before this one begins. */
async function openIn(folder: string, path: string): Promise<FileHandle> {
  for (let left = TRIES; ; left--) {
    await makeNewFolder(folder);
    try {
      return await open(path, 'wx');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || left === 1) throw error;
    }
  }
}

function asideFolder(path: string): string {
  return join(dirname(path), `.${basename(path)}.partial`);
}

/** Removes what killed processes left of the file; others may be writing it now. */
export async function removeStale(path: string): Promise<void> {
  const folder = asideFolder(path);
  // Mostly there is none, or it is empty.
  const error = await rmdir(folder).catch((refused: NodeJS.ErrnoException) => refused.code);
  if (error === undefined || error === 'ENOENT') return;
  for (const name of await readdir(folder).catch(() => [])) {
    const aside = join(folder, name);
    const stats = await stat(aside).catch(() => null);
    if (stats !== null && Date.now() - stats.mtimeMs > STALE) await rm(aside, { force: true }).catch(() => undefined);
  }
  await rmdir(folder).catch(() => undefined);
}
