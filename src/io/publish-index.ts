/**
 * The index of a sharded output: it stands for the whole set, so it comes last and goes first.
 *
 * Invariant: while shards are being written there is no index, so that no reader takes a mixture for a set.
 */
import { createHash } from 'node:crypto';
import type { Destination, Written } from './destination.ts';
import { manifestPath, type Shard } from './manifest.ts';
import { pinOwn } from './own-files.ts';

export type { Shard } from './manifest.ts';

/** Removes an output with its manifest: of an older set, before its shards are replaced. */
export async function removeIndex(files: Destination, uri: string): Promise<void> {
  await files.remove(manifestPath(uri));
  await files.remove(uri);
}

/** Writes the index; gives its SHA-256, and what was said of it then. */
export async function publishIndex(
  files: Destination,
  { uri, text, token }: { readonly uri: string; readonly text: string; readonly token: string },
): Promise<{ readonly sha256: string; readonly identity: string }> {
  const identity = await files.write(uri, text, token);
  return { sha256: createHash('sha256').update(text).digest('hex'), identity };
}

/** Shards as the manifest names them. Throws `CheckpointSourceError` where one is not the very one that was published. */
export async function shardsOf(
  files: Destination,
  shards: readonly (Written & { readonly sha256: string | null })[],
): Promise<readonly Shard[]> {
  return Promise.all(
    shards.map(async (shard) => {
      const { size, identity } = await pinOwn(files, shard);
      return { uri: shard.uri, size, ...(shard.sha256 === null ? {} : { sha256: shard.sha256 }), identity };
    }),
  );
}
