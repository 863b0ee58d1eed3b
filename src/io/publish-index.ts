/**
 * The index of a sharded output: it stands for the whole set, so it comes last and goes first.
 *
 * Invariant: while shards are being written there is no index, so that no reader takes a mixture for a set.
 */
import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { writeAtomically } from './atomic-file.ts';
import { localIdentity, localPath } from './local-file.ts';
import { manifestPath, type Shard } from './manifest.ts';

export type { Shard } from './manifest.ts';

/** Takes an older set out of sight before its shards are replaced. */
export async function removeIndex(uri: string): Promise<void> {
  const path = localPath(uri);
  await rm(manifestPath(path), { force: true });
  await rm(path, { force: true });
}

/** Writes the index and gives its SHA-256. */
export async function publishIndex(uri: string, text: string): Promise<string> {
  await writeAtomically(localPath(uri), text);
  return createHash('sha256').update(text).digest('hex');
}

/** Shards as the manifest names them, pinned as they are now. */
export async function shardsOf(files: readonly { readonly uri: string; readonly sha256: string }[]): Promise<readonly Shard[]> {
  return Promise.all(
    files.map(async ({ uri, sha256 }) => {
      const stats = await stat(localPath(uri), { bigint: true });
      return { uri, size: Number(stats.size), sha256, identity: localIdentity(stats) };
    }),
  );
}

/** Removes shards that a run wrote and whose index it never got to; where an index is there, the set is older and whole. */
export async function discardIncomplete(index: string, shards: readonly string[]): Promise<void> {
  if ((await stat(localPath(index)).catch(() => null)) !== null) return;
  await Promise.all(shards.map((shard) => rm(localPath(shard), { force: true })));
}
