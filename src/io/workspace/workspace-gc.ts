/**
 * Clears a workspace up: blobs that nobody has written or used again since a moment.
 *
 * Invariant: a run's blobs are never older than its start, as whoever uses a blob again makes it young; so nothing that an open run
 * refers to goes while the moment lies before all their starts.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { localPath } from '../local/local-file.ts';
import { isS3, parseS3, s3Uri } from '../s3/location.ts';
import { patiently } from '../s3/patience.ts';
import { objectsUnder } from '../s3/source.ts';
import type { Storage } from '../storage/storage.ts';

export interface Cleared {
  readonly removed: number;
  readonly removed_bytes: number;
  readonly kept: number;
}

interface Blob {
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modified: number;
  /** Unless it has been written or used again meanwhile: then false. */
  remove(before: number): Promise<boolean>;
}

/** Removes blobs last written before `before` (milliseconds since the epoch); `dryRun` only counts them. */
export async function clearWorkspace(storage: Storage, uri: string, before: number, dryRun: boolean): Promise<Cleared> {
  let removed = 0;
  let bytes = 0;
  let kept = 0;
  for await (const blob of isS3(uri) ? objects(storage, uri) : files(uri)) {
    if (blob.modified >= before || !(dryRun || (await blob.remove(before)))) {
      kept++;
      continue;
    }
    removed++;
    bytes += blob.size;
  }
  return { removed, removed_bytes: bytes, kept };
}

/** What is named like a blob of ours; anything else is left alone. */
const BLOB = /^[0-9a-f]{2}\/[0-9a-f]{64}\.json$/;
const BLOB_FOLDER = /^[0-9a-f]{2}$/;

async function* files(uri: string): AsyncGenerator<Blob> {
  const root = join(localPath(uri), 'blobs');
  // Names of one of 256 folders are held, and not read while it is cleared: a disk may skip some then.
  for (const folder of (await namesIn(root)).filter((name) => BLOB_FOLDER.test(name))) {
    for (const name of await namesIn(join(root, folder))) {
      if (!BLOB.test(`${folder}/${name}`)) continue;
      const path = join(root, folder, name);
      const stats = await stat(path).catch(() => null);
      if (stats === null) continue;
      const { size, mtimeMs: modified } = stats;
      // It was looked at a moment ago.
      const remove = async (): Promise<boolean> => rm(path, { force: true }).then(() => true);
      yield { size, modified, remove };
    }
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => []);
}

async function* objects(storage: Storage, uri: string): AsyncGenerator<Blob> {
  const root = parseS3(`${uri.replace(/\/+$/, '')}/blobs/`);
  const port = await storage.s3(s3Uri(root));
  const { policy } = storage;
  for await (const { key, size, modified } of objectsUnder(port, root, { flat: false, policy })) {
    if (!BLOB.test(key.slice(root.key.length))) continue;
    const target = { bucket: root.bucket, key };
    const remove = async (before: number): Promise<boolean> => {
      // Its page was listed up to a thousand removals ago.
      const { objects } = await patiently(policy, undefined, 0, (signal) =>
        port.list(root.bucket, key, { flat: true, from: null }, signal),
      );
      const now = objects.find((object) => object.key === key);
      if (now !== undefined && now.modified >= before) return false;
      await patiently(policy, undefined, 0, (signal) => port.remove(target, signal));
      return true;
    };
    yield { size, modified, remove };
  }
}
