/**
 * Which renaming of a module or prefix would make the source's names fit the target's: what people need to hear when names
 * do not match. Linear in the number of names, by suffixes that both sides share.
 */

export interface RenameHint {
  /** Leading part of source names, `model.`; empty: something is to be put in front. */
  readonly from: string;
  readonly to: string;
  /** How many source names would then match. */
  readonly count: number;
}

/** Renamings are looked for among this many names: common ones show in any sample. They are then counted over all. */
const MOST_NAMES = 20_000;
/** A suffix that so many names share (`weight`) says nothing. */
const MOST_SHARING = 4;

/** At most three renamings of the unmatched names, the most helpful first. */
export function renameHints(unexpected: readonly string[], missing: readonly string[]): readonly RenameHint[] {
  const wanted = missing.slice(0, MOST_NAMES);
  const found = unexpected.slice(0, MOST_NAMES);
  const bySuffix = new Map<string, string[]>();
  for (const name of wanted) {
    for (const suffix of suffixesOf(name)) {
      const sharing = bySuffix.get(suffix);
      if (sharing === undefined) bySuffix.set(suffix, [name]);
      else if (sharing.length <= MOST_SHARING) sharing.push(name);
    }
  }
  const votes = new Map<string, { from: string; to: string; votes: number }>();
  for (const name of found) {
    const suffix = suffixesOf(name).find((each) => (bySuffix.get(each)?.length ?? MOST_SHARING + 1) <= MOST_SHARING);
    if (suffix === undefined) continue;
    for (const other of bySuffix.get(suffix)!) {
      const [from, to] = [name.slice(0, name.length - suffix.length), other.slice(0, other.length - suffix.length)];
      const key = `${from}\0${to}`;
      const vote = votes.get(key) ?? { from, to, votes: 0 };
      votes.set(key, { ...vote, votes: vote.votes + 1 });
    }
  }
  const names = new Set(missing);
  return [...votes.values()]
    .sort((a, b) => b.votes - a.votes || a.from.length + a.to.length - b.from.length - b.to.length)
    .slice(0, 20)
    .map(({ from, to }) => ({
      from,
      to,
      count: unexpected.filter((name) => name.startsWith(from) && names.has(to + name.slice(from.length))).length,
    }))
    .sort((a, b) => b.count - a.count)
    .slice(0, 3);
}

/** The hints as a sentence, with the stage that would do it. */
export function hintText(hints: readonly RenameHint[]): string {
  return hints
    .map(({ from, to, count }) =>
      from === ''
        ? ` With \`${to}\` in front, ${count} names of the source would match (\`add_prefix: ${to}\` of the loader).`
        : to === ''
          ? ` Without the leading \`${from}\`, ${count} names of the source would match (\`strip_prefix: ${from}\` of the loader).`
          : ` With \`${to}\` for the leading \`${from}\`, ${count} names of the source would match (\`strip_prefix\` and \`add_prefix\` of the loader).`,
    )
    .join('');
}

/** Longest first: the name itself, then without its first component, … */
function suffixesOf(name: string): readonly string[] {
  const suffixes = [name];
  // Names with absurdly many dots would make this quadratic.
  for (let at = name.indexOf('.'); at !== -1 && suffixes.length < 32; at = name.indexOf('.', at + 1)) suffixes.push(name.slice(at + 1));
  return suffixes;
}
