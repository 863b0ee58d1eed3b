/** The files below a folder or an S3 prefix, whatever they are. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointLoadError, CheckpointNotFoundError } from '../errors.ts';
import { localPath, localUri } from './local-file.ts';
import { isS3, parseS3Prefix, s3Uri } from './s3/location.ts';
import { objectsUnder } from './s3/source.ts';
import type { Storage } from './storage/storage.ts';

export interface FileBelow {
  readonly uri: string;
  /** Its path in the folder. */
  readonly name: string;
}

/**
 * All files at any depth, sorted by name; null where the URI is not a folder's, nor an `s3://` one that ends with a slash. More than
 * `most` are a `CheckpointLoadError`, a prefix without any a `CheckpointNotFoundError`.
 */
export async function filesBelow(uri: string, storage: Storage, most: number): Promise<readonly FileBelow[] | null> {
  const files = isS3(uri) ? await objectsBelow(uri, storage, most) : await localFiles(uri, most);
  return files?.toSorted((a, b) => (a.name < b.name ? -1 : 1)) ?? null;
}

async function objectsBelow(uri: string, storage: Storage, most: number): Promise<readonly FileBelow[] | null> {
  if (!uri.endsWith('/')) return null;
  const { bucket, key: prefix } = parseS3Prefix(uri);
  const files: FileBelow[] = [];
  for await (const { key } of objectsUnder(await storage.s3(uri), { bucket, key: prefix }, { flat: false, policy: storage.policy })) {
    // Some tools leave an object of no bytes for each "folder".
    if (key.endsWith('/')) continue;
    if (files.length === most) throw tooMany(uri, most);
    files.push({ uri: s3Uri({ bucket, key }), name: key.slice(prefix.length) });
  }
  if (files.length === 0) throw new CheckpointNotFoundError(`There is nothing under ${uri}.`, uri);
  return files;
}

async function localFiles(uri: string, most: number): Promise<readonly FileBelow[] | null> {
  if (!uri.startsWith('file://') && uri.includes('://')) return null;
  const folder = localPath(uri);
  if ((await stat(folder).catch(() => null))?.isDirectory() !== true) return null;
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  if (entries.length > most) throw tooMany(folder, most);
  // Links to files count: caches are made of them. Links to folders are not followed.
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ uri: localUri(path), name: path.slice(join(folder, '/').length) }));
}

function tooMany(folder: string, most: number): CheckpointLoadError {
  return new CheckpointLoadError(`${folder} holds more than ${most} files, and no more are looked through. Name a part of it.`, folder);
}
