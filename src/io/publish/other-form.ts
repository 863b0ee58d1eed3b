/**
 * What is left beside an output of the same one in another form: whole where it is now in shards, in shards where it is whole, or in other shards.
 *
 * Whoever is given the folder may read that, and old weights with it. Invariant: nothing of it is removed, as only its owner can tell whether
 * it is out of date; where it cannot be looked at, nothing is said.
 */
import { shardIndexName } from '../../model/checkpoint-names.ts';
import { formatCount } from '../../model/text.ts';
import { nameOf, siblingUri, type Destination } from './destination.ts';

/** Shards that are looked for, and named. */
const SHOWN = 3;

export interface Published {
  /** As the output was asked for. */
  readonly uri: string;
  /** Of its shards; null where it is whole. */
  readonly index: string | null;
  /** Names in an older index that are none of its shards. */
  readonly older: readonly string[];
}

/** A sentence for each thing that is left. */
export async function leftBeside(files: Destination, { uri, index, older }: Published): Promise<readonly string[]> {
  const isThere = (place: string): Promise<boolean> =>
    files.identity(place).then(
      (found) => found !== null,
      () => false,
    );
  const name = nameOf(uri);
  if (index === null) {
    const other = shardIndexName(name);
    if (!(await isThere(siblingUri(uri, other)))) return [];
    return [`${other} is beside ${name}: who is given their folder reads its shards. Remove it with them where they are out of date.`];
  }
  const warnings: string[] = [];
  if (await isThere(uri))
    warnings.push(`${name} is beside ${nameOf(index)}: some programs read it, and not the shards. Remove it where it is out of date.`);
  // Names that somebody else may have written.
  const plain = older.filter((each) => !/[/\\]/.test(each)).slice(0, SHOWN);
  const there = await Promise.all(plain.map((each) => isThere(siblingUri(index, each))));
  const left = plain.filter((_, at) => there[at]!);
  if (left.length > 0)
    warnings.push(
      `${nameOf(index)} had ${formatCount(older.length, 'shard')} before that it names no more, and that are there: ${left.join(', ')}${older.length > left.length ? ', …' : ''}. Remove them where nobody needs them.`,
    );
  return warnings;
}
