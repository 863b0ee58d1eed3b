/**
 * What a run that failed for good takes back: an output that was complete, and whose manifest never came.
 *
 * Invariant: removes only what the stage itself wrote, and nothing that a manifest pins as it is.
 */
import type { Destination } from './destination.ts';
import { isAsPublished, manifestPath, readManifest } from './manifest.ts';
import { namesAny } from './publish-index.ts';

/** Removes an output of this stage that has no manifest, and the manifest of the output that it replaced. */
export async function withdraw(files: Destination, uri: string, token: string): Promise<void> {
  if (await files.wrote(uri, token)) await removeUnlessPinned(files, uri, []);
}

/**
 * Removes the shards of this stage, and their index if it is of this stage, too. An index that names none of the shards, or not only shards of this
 * stage, is of an older set or of somebody else, and stays; the shards go all the same, so that nobody loads a mixture.
 */
export async function withdrawShards(files: Destination, index: string, shards: readonly string[], token: string): Promise<void> {
  const own = await written(files, shards, token);
  if (own.length === 0) return;
  const text = await files.read(index);
  if (text !== null && namesAny(text, shards)) {
    if (own.length === shards.length) return removeUnlessPinned(files, index, shards);
    const manifest = await readManifest(files, index);
    // Of the same bytes, perhaps: then the set is whole.
    if (manifest !== null && (await isAsPublished(files, index, manifest))) return;
  }
  await Promise.all(own.map((shard) => files.remove(shard)));
}

/** Those of the files that are of this stage as they are now. */
export async function written(files: Destination, uris: readonly string[], token: string): Promise<readonly string[]> {
  const own = await Promise.all(uris.map((uri) => files.wrote(uri, token)));
  return uris.filter((_, index) => own[index]!);
}

async function removeUnlessPinned(files: Destination, uri: string, shards: readonly string[]): Promise<void> {
  const pinned = (await readManifest(files, uri))?.identity;
  if (pinned !== undefined && pinned === (await files.identity(uri))?.identity) return;
  await files.remove(uri);
  await Promise.all(shards.map((shard) => files.remove(shard)));
  // That of the output it replaced. If it cannot be removed, it is not ours, and may be why no manifest came.
  await files.remove(manifestPath(uri)).catch(() => undefined);
}
