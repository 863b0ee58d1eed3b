/**
 * The index of a sharded output: it stands for the whole set, so it comes last and goes first.
 *
 * Invariant: while shards are being written there is no index that names one of them, so that no reader takes a mixture for a set.
 * An older set of other files stays until the new index takes its place.
 */
import { createHash } from 'node:crypto';
import { parseBounded } from '../../formats/json-bounds.ts';
import { nameOf, type Destination, type Written } from './destination.ts';
import { manifestPath, type Shard } from './manifest.ts';
import { pinOwn } from './own-files.ts';

export type { Shard } from './manifest.ts';

/** Before shards are written: an older index that names one of them goes, with its manifest. Gives the names of others in it. */
export async function giveWay(files: Destination, index: string, shards: readonly string[]): Promise<readonly string[]> {
  const text = await files.read(index);
  // Of an index that is gone the manifest says nothing.
  if (text === null || namesAny(text, shards)) {
    await files.remove(manifestPath(index));
    await files.remove(index);
  }
  if (text === null) return [];
  const names = plainNames(shards);
  return namesIn(text).filter((name) => !names.has(plain(name)));
}

/** Whether an index names one of these files. One that cannot be read counts as one that does: there is no set to be kept. */
export function namesAny(index: string, shards: readonly string[]): boolean {
  const named = namesIn(index);
  const names = plainNames(shards);
  return named.length === 0 || named.some((name) => names.has(plain(name)));
}

function namesIn(index: string): readonly string[] {
  try {
    const { weight_map: map } = parseBounded(index) as { readonly weight_map?: Readonly<Record<string, unknown>> };
    return [...new Set(Object.values(map ?? {}).map(String))];
  } catch {
    return [];
  }
}

function plainNames(uris: readonly string[]): ReadonlySet<string> {
  return new Set(uris.map((uri) => plain(nameOf(uri))));
}

/** Folders and file systems that do not tell case apart are taken into account: at worst, an older set goes sooner. */
function plain(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1).toLowerCase();
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
