/** What is looked at before the first file of a set is written, and what goes then: cheap reasons to refuse come first, and nothing goes before them. */
import type { Destination } from './destination.ts';
import { existsError, type Overwrite } from './overwrite.ts';
import { giveWay } from './publish-index.ts';
import type { SizedSet } from './room.ts';
import { written } from './withdraw.ts';

export interface NewSet extends SizedSet {
  readonly index: string;
  readonly overwrite: Overwrite;
}

/** Throws where the set may not be written or has no room; takes an older index away that names one of its files. Gives the names of others in that. */
export async function makeWay(destination: Destination, { index, overwrite, ...set }: NewSet): Promise<readonly string[]> {
  const places = set.files.map(({ uri }) => uri);
  // What an attempt before this one has written whole is completed, whatever its index is by now.
  const missing = overwrite === 'never' ? await notOwn(destination, places, set.token) : [];
  if (missing.length > 0) await refuseExisting(destination, [index, ...missing]);
  await destination.checkRoom(set);
  return missing.length > 0 ? [] : giveWay(destination, index, places);
}

/** Those that this stage has not written yet. */
async function notOwn(destination: Destination, places: readonly string[], token: string): Promise<readonly string[]> {
  const own = await written(destination, places, token);
  return places.filter((place) => !own.includes(place));
}

async function refuseExisting(destination: Destination, places: readonly string[]): Promise<void> {
  for (const place of places) if ((await destination.identity(place)) !== null) throw existsError(place);
}
