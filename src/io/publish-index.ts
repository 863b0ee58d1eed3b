/**
 * The index of a sharded output: it stands for the whole set, so it comes last and goes first.
 *
 * Invariant: while shards are being written there is no index, so that no reader takes a mixture for a set.
 */
import { createHash } from 'node:crypto';
import type { Destination } from './destination.ts';
import { manifestPath, type Shard } from './manifest.ts';

export type { Shard } from './manifest.ts';

/** Removes an output with its manifest: of an older set, before its shards are replaced. */
export async function removeIndex(files: Destination, uri: string): Promise<void> {
  await files.remove(manifestPath(uri));
  await files.remove(uri);
}

/** Writes the index; gives its SHA-256, and what was said of it then. */
export async function publishIndex(files: Destination, uri: string, text: string): Promise<{ sha256: string; identity: string }> {
  const identity = await files.write(uri, text);
  return { sha256: createHash('sha256').update(text).digest('hex'), identity };
}

/** Shards as the manifest names them, pinned as they are now. */
export async function shardsOf(
  files: Destination,
  shards: readonly { readonly uri: string; readonly size: number; readonly sha256: string | null }[],
): Promise<readonly Shard[]> {
  return Promise.all(
    shards.map(async ({ uri, size, sha256 }) => {
      const there = await files.identity(uri);
      return { uri, size: there?.size ?? size, ...(sha256 === null ? {} : { sha256 }), identity: there?.identity ?? '' };
    }),
  );
}
