/**
 * Names of an archive's members: which are taken, and which two are one to some reader.
 *
 * What torch writes is decided at a glance; everything else takes the exact way. There may be half a million names.
 */

const SLASH = 0x2f;
const DOT = 0x2e;
/** Letters by themselves, small; digits and `_-.` as they are; 0 for all others. */
const FOLDED = new Uint8Array(256);
for (const character of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.')
  FOLDED[character.charCodeAt(0)] = character.toLowerCase().charCodeAt(0);

/**
 * A digest (FNV-1a) of a relative path as torch writes it, equal for paths that are equal but for the case of letters; undefined for all
 * other names: characters beside ASCII's letters, digits and `_-.`, empty parts, two dots in a row.
 */
export function plainDigest(bytes: Uint8Array, from: number, to: number): number | undefined {
  let digest = 0x811c9dc5;
  let before = SLASH;
  for (let at = from; at < to; at++) {
    const code = bytes[at]!;
    const folded = FOLDED[code]!;
    if (folded === 0 && (code !== SLASH || before === SLASH)) return undefined;
    if (code === DOT && before === DOT) return undefined;
    digest = Math.imul(digest ^ folded, 0x01000193);
    before = code;
  }
  return before === SLASH ? undefined : digest;
}

/**
 * Whether it is a relative path that stays where it is put. Drives are not asked for: `torch.save` to `x:y.pt` makes the folder `x:y`,
 * and nothing is ever unpacked.
 */
export function isSafeName(name: string): boolean {
  return !(name === '' || name.includes('\0') || name.includes('\\') || name.startsWith('/') || name.split('/').includes('..'));
}

type Named = { readonly name: string };

/**
 * Two names that a reader which ignores case takes for one, as torch does; undefined: there are none. `digests` are those of all
 * members; null where a name is not plain.
 */
export function twinsAmong(members: readonly Named[], digests: Int32Array | null): readonly [earlier: string, later: string] | undefined {
  if (digests !== null && allDiffer(members, digests)) return undefined;
  const seen = new Map<string, string>();
  for (const { name } of members) {
    // Both ways, twice: some letters have an upper case only, or a lower one, which may be one of ASCII.
    const folded = name.toLowerCase().toUpperCase().toLowerCase();
    const twin = seen.get(folded);
    if (twin !== undefined) return [twin, name];
    seen.set(folded, name);
  }
  return undefined;
}

/** Places that are looked at for one name: where more are taken, somebody has chosen the names for it. */
const PROBES = 64;

/** False also where that would take too long to say. */
function allDiffer(members: readonly Named[], digests: Int32Array): boolean {
  // Indexes from 1, in a table of which at most half is taken.
  const table = new Int32Array(2 ** Math.ceil(Math.log2(members.length + 1) + 1));
  for (let index = 0; index < members.length; index++) {
    const digest = digests[index]!;
    let place = (digest ^ (digest >>> 15)) & (table.length - 1);
    for (let probe = 0; table[place] !== 0; probe++) {
      if (probe === PROBES) return false;
      const other = table[place]! - 1;
      if (digests[other] === digest && members[other]!.name.toLowerCase() === members[index]!.name.toLowerCase()) return false;
      place = (place + 1) & (table.length - 1);
    }
    table[place] = index + 1;
  }
  return true;
}
