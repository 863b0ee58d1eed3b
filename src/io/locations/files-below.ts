/** The files below a folder or an S3 prefix, whatever they are. */
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointLoadError, CheckpointNotFoundError, CheckpointSourceError } from '../../errors.ts';
import { localPath, localUri } from '../local/local-file.ts';
import { isS3, parseS3Prefix, s3Uri } from '../s3/location.ts';
import { objectsUnder } from '../s3/source.ts';
import type { Storage } from '../storage/storage.ts';

export interface FileBelow {
  readonly uri: string;
  /** Its path in the folder. */
  readonly key: string;
}

/** Takes a folder that cannot be listed, by its path; what is beside it is looked through all the same. */
type Unlisted = (folder: string, error: CheckpointSourceError) => void;

/**
 * All files at any depth, sorted by path; null where the URI is not a folder's, nor an `s3://` one that ends with a slash. More than
 * `most` are a `CheckpointLoadError`, a prefix without any a `CheckpointNotFoundError`; so is a folder that cannot be listed a
 * `CheckpointSourceError`, unless somebody takes it.
 */
export async function filesBelow(
  uri: string,
  storage: Storage,
  most: number,
  unlisted: Unlisted = thrown,
): Promise<readonly FileBelow[] | null> {
  const files = isS3(uri) ? await objectsBelow(uri, storage, most) : await localFiles(uri, most, unlisted);
  return files?.toSorted((a, b) => (a.key < b.key ? -1 : 1)) ?? null;
}

async function objectsBelow(uri: string, storage: Storage, most: number): Promise<readonly FileBelow[] | null> {
  if (!uri.endsWith('/')) return null;
  const files: FileBelow[] = [];
  for await (const file of objectsIn(uri, storage)) {
    if (files.length === most) throw tooMany(uri, most);
    files.push(file);
  }
  if (files.length === 0) throw new CheckpointNotFoundError(`There is nothing under ${uri}.`, uri);
  return files;
}

/** Objects at any depth below a prefix, with or without a slash at its end, in the order of their keys. */
export async function* objectsIn(uri: string, storage: Storage, signal?: AbortSignal): AsyncGenerator<FileBelow> {
  const { bucket, key } = parseS3Prefix(uri);
  const prefix = key === '' || key.endsWith('/') ? key : `${key}/`;
  const port = await storage.s3(uri);
  for await (const object of objectsUnder(port, { bucket, key: prefix }, { flat: false, policy: storage.policy, signal }))
    // Some tools leave an object of no bytes for each "folder".
    if (!object.key.endsWith('/')) yield { uri: s3Uri({ bucket, key: object.key }), key: object.key.slice(prefix.length) };
}

async function localFiles(uri: string, most: number, unlisted: Unlisted): Promise<readonly FileBelow[] | null> {
  if (!uri.startsWith('file://') && uri.includes('://')) return null;
  const folder = localPath(uri);
  if ((await stat(folder).catch(() => null))?.isDirectory() !== true) return null;
  const files: FileBelow[] = [];
  let entries = 0;
  for await (const { path, isFolder } of entriesBelow(folder, unlisted)) {
    if (++entries > most) throw tooMany(folder, most);
    if (!isFolder) files.push({ uri: localUri(path), key: path.slice(join(folder, '/').length) });
  }
  return files;
}

/** What a folder holds at any depth, while it is read. Links to files count: caches are made of them. Links to folders are not followed. */
export async function* entriesBelow(
  folder: string,
  unlisted: Unlisted = thrown,
): AsyncGenerator<{ readonly path: string; readonly isFolder: boolean }> {
  const pending = [folder];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    try {
      for await (const entry of await opendir(at)) {
        const path = join(at, entry.name);
        const isFolder = entry.isDirectory();
        if (isFolder) pending.push(path);
        yield { path, isFolder };
      }
    } catch (cause) {
      unlisted(at, new CheckpointSourceError(`${at} cannot be listed: ${(cause as Error).message}.`, at, { cause }));
    }
  }
}

function thrown(_folder: string, error: CheckpointSourceError): never {
  throw error;
}

function tooMany(folder: string, most: number): CheckpointLoadError {
  return new CheckpointLoadError(`${folder} holds more than ${most} files, and no more are looked through. Name a part of it.`, folder);
}
