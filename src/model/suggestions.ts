/** Did-you-mean: names close to a wrong one. */

/** Shorter names are contained in too much. */
const LEAST_CONTAINED = 2;

/** At most `most` of `names` within 2 edits (a third of a long name), containing the wanted one or contained in it, nearest first; none for an empty name. */
export function nearNames(wanted: string, names: readonly string[], most = 3): readonly string[] {
  const needle = wanted.toLowerCase();
  if (needle === '') return [];
  return names
    .map((name) => ({ name, distance: editDistance(needle, name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= Math.max(2, needle.length / 3) || contains(name.toLowerCase(), needle))
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, most)
    .map(({ name }) => name);
}

/** A stage type counts by what stands behind its kind, too: `source.s3` is in `s3source`. */
function contains(name: string, needle: string): boolean {
  const last = name.slice(name.lastIndexOf('.') + 1);
  if (needle.length < LEAST_CONTAINED) return false;
  // A dotted path begins with each of its parents: those are not hints.
  return name.includes(needle) || (last.length >= LEAST_CONTAINED && !needle.includes('.') && needle.includes(last));
}

/** ` Did you mean a, b?`, or nothing, as for what is not text. */
export function didYouMean(wanted: unknown, names: readonly string[]): string {
  if (typeof wanted !== 'string') return '';
  const near = nearNames(wanted, names);
  return near.length === 0 ? '' : ` Did you mean ${near.map((name) => `\`${name}\``).join(', ')}?`;
}

/** Levenshtein distance, of names cut to 200 characters. */
export function editDistance(a: string, b: string): number {
  const left = a.slice(0, 200);
  const right = b.slice(0, 200);
  let row = Array.from({ length: right.length + 1 }, (_, i) => i);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const replace = row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[right.length]!;
}
