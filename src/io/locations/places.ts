/** Whether a place can be read or written, as far as can be told without reading or writing it. */
import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { CheckpointConfigError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { isLocal } from '../../model/scheme.ts';
import { checkReplaceable, kindOf, localPath } from '../local/local-file.ts';
import { manifestPath } from '../publish/manifest.ts';
import { isS3, parseS3 } from '../s3/location.ts';
import { reachBucket } from '../s3/reach.ts';
import type { Storage } from '../storage/storage.ts';

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

/** Bytes of a name on a disk, less those that the name of what attempts keep beside an output has more. */
const NAME_MOST = 255 - 26;
/** Milliseconds for which what was found of a folder or a bucket holds: a batch asks of the same one for each item. */
const FOLDER_HOLDS = 5000;
const FOLDERS_MOST = 1000;
/** Folders that are there and may be written, with the free bytes of then; buckets (`s3://name`) that are there, which tell no bytes. */
const writable = new Map<string, { readonly at: number; readonly free: number | null }>();

/**
 * Throws `CheckpointConfigError` where a file cannot be published: its folder, or the one it would be made in, is none or may not
 * be written; and for a store what writing there would throw, as far as reading tells. Gives the free bytes there, or null for a store.
 */
export async function checkWritable(uri: string, storage: Storage, signal?: AbortSignal): Promise<number | null> {
  if (isS3(uri)) return bucketWritable(uri, storage, signal);
  const path = localPath(uri);
  const bytes = Buffer.byteLength(basename(path));
  if (bytes > NAME_MOST)
    throw new CheckpointConfigError(`${path} has a name of ${bytes} bytes; at most ${NAME_MOST} can be published. Choose a shorter one.`);
  await checkReplaceable(path);
  await checkManifestPlace(path);
  const known = writable.get(dirname(path));
  if (holds(known)) return known.free;
  const folder = await nearestFolder(path);
  await access(folder, constants.W_OK | constants.X_OK).catch((cause: Error) => {
    throw unwritable(path, cause);
  });
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (folder === dirname(path)) keep(folder, free);
  return free;
}

/** The manifest comes last: where it could not take its place, all that was written before would be in vain. */
async function checkManifestPlace(path: string): Promise<void> {
  const manifest = manifestPath(path);
  const there = await stat(manifest).catch(() => null);
  if (there === null || there.isFile()) return;
  throw new CheckpointConfigError(
    `${manifest} is ${kindOf(there)}, where the manifest of ${path} is to be written. Move it away, or choose another \`uri\`.`,
  );
}

async function bucketWritable(uri: string, storage: Storage, signal?: AbortSignal): Promise<null> {
  const bucket = `s3://${parseS3(uri).bucket}`;
  if (holds(writable.get(bucket))) return null;
  await reachBucket(uri, storage, signal);
  keep(bucket, null);
  return null;
}

function holds(known: { readonly at: number } | undefined): known is { readonly at: number; readonly free: number | null } {
  return known !== undefined && performance.now() - known.at < FOLDER_HOLDS;
}

function keep(place: string, free: number | null): void {
  if (writable.size >= FOLDERS_MOST) writable.clear();
  writable.set(place, { at: performance.now(), free });
}

/** The folder of a file, or the first above it that is there: those between will be made. */
async function nearestFolder(path: string): Promise<string> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const stats = await stat(folder).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return null;
      throw unwritable(path, cause);
    });
    if (stats?.isDirectory() === true) return folder;
    if (stats !== null || dirname(folder) === folder) throw unwritable(path, new Error(`${folder} is not a folder`));
  }
}

function unwritable(path: string, cause: Error): CheckpointConfigError {
  return new CheckpointConfigError(
    `${path} cannot be written: ${cause.message}. Choose another \`uri\`, or change the permissions.`,
    undefined,
    { cause, details: { reason: 'unwritable' } },
  );
}
