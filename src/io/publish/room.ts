/** Room on a disk for what is to be published there: looked for before anything is written. */
import { lstat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CheckpointError } from '../../errors.ts';
import { isAbsent, localPath } from '../local/local-file.ts';
import { finishedAs, partialsFolder, partialsIn } from './partials.ts';

/** Bytes of a block as `stat` counts them, whatever those of the file system. */
const STAT_BLOCK = 512;

/** An output as it will be. */
export interface Sized {
  readonly uri: string;
  readonly size: number;
}

/** Throws where the folder of `path`, which is there, has no room for so many bytes. */
export async function checkRoom(path: string, size: number): Promise<void> {
  const free = await freeIn(dirname(path));
  if (free < size) throw noRoom(path, size, free);
}

/** Files that are published one after the other, and then what stands for them all. */
export interface SizedSet {
  readonly files: readonly Sized[];
  /** Bytes of the index and the manifest. */
  readonly beside: number;
  readonly token: string;
  readonly content: string;
}

/**
 * Throws where a disk has no room for a set. Files that an attempt of this stage has finished count no more, and of others what it left counts as
 * theirs.
 */
export async function checkRoomForAll({ files, beside, token, content }: SizedSet): Promise<void> {
  let taken = 0;
  let most = 0;
  for (const { uri, size } of files) {
    const path = localPath(uri);
    if ((await finishedAs(path, token))?.content === content) continue;
    const folder = partialsFolder(path, token);
    for (const name of await partialsIn(folder)) taken -= await bytesOf(join(folder, name));
    taken += size;
    most = Math.max(most, taken);
    // What a file replaces is there until it is complete, and no longer.
    taken -= await bytesOf(path);
  }
  const path = localPath(files[0]!.uri);
  const needed = most + beside;
  // What is wrong with the folder, publishing says.
  const free = await freeIn(dirname(path)).catch(() => Infinity);
  if (free < needed) throw noRoom(path, needed, free, files.length);
}

/** Bytes that a manifest of these tensors will take, roughly: a published file without one is worse than none. */
export function manifestRoom(tensors: readonly { readonly name: string }[]): number {
  return 64 * 1024 + tensors.reduce((sum, { name }) => sum + 256 + name.length, 0);
}

/** For `path`, or the first of several files. */
export function noRoom(path: string, size: number, free: number | null, files = 1): CheckpointError {
  const what = files === 1 ? path : `${files} shards from ${path} on`;
  return new CheckpointError(
    `No room to publish ${what}: ${size} bytes are needed${free === null ? '' : `, ${free} are free`}. Free some space or choose another \`uri\`.`,
    {
      retryable: false,
      details: { reason: 'no_room', path, needed_bytes: size, free_bytes: free },
    },
  );
}

/** Bytes that are free where the folder is, or will be made. */
async function freeIn(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    if (dirname(folder) === folder || !isAbsent(error)) throw error;
    return freeIn(dirname(folder));
  }
}

/** Bytes that the disk has back once the file's name stands for nothing, or for another. */
async function bytesOf(path: string): Promise<number> {
  const there = await lstat(path).catch(() => null);
  return there !== null && there.isFile() && there.nlink === 1 ? there.blocks * STAT_BLOCK : 0;
}
