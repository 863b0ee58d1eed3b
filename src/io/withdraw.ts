/**
 * What a run that failed for good takes back: an output that was complete, and whose manifest never came.
 *
 * Invariant: removes only what the stage itself wrote, and nothing that a manifest pins as it is.
 */
import type { Destination } from './destination.ts';
import { manifestPath, readManifest } from './manifest.ts';

/** With the manifest of the output whose place it took. */
export async function withdraw(files: Destination, uri: string, token: string): Promise<void> {
  if (await files.wrote(uri, token)) await removeUnlessPinned(files, uri, []);
}

/**
 * The same of shards and their index. Where an index is there and not all shards are of this stage, the set is an older one, and
 * whole: before the first shard is written, an older index goes.
 */
export async function withdrawShards(files: Destination, index: string, shards: readonly string[], token: string): Promise<void> {
  if ((await files.identity(index)) === null) await Promise.all(shards.map((shard) => files.remove(shard)));
  else if (await wroteAll(files, shards, token)) await removeUnlessPinned(files, index, shards);
}

export async function wroteAll(files: Destination, uris: readonly string[], token: string): Promise<boolean> {
  return (await Promise.all(uris.map((uri) => files.wrote(uri, token)))).every(Boolean);
}

async function removeUnlessPinned(files: Destination, uri: string, shards: readonly string[]): Promise<void> {
  const pinned = (await readManifest(files, uri))?.identity;
  if (pinned !== undefined && pinned === (await files.identity(uri))?.identity) return;
  await files.remove(uri);
  await Promise.all(shards.map((shard) => files.remove(shard)));
  // Of the output whose place it took. What cannot be removed is none of ours, and may be why no manifest came.
  await files.remove(manifestPath(uri)).catch(() => undefined);
}
