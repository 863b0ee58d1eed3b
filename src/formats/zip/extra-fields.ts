/**
 * Extra fields of members, in the directory and in local headers: the two kinds that change what a header means.
 *
 * Invariant: a field that readers could take in two ways is refused.
 */
import { hex4, type Bad } from './fields.ts';

export const LARGEST_EXTRA = 0xffff;
export const ZIP64_EXTRA = 0x0001;
/** Info-ZIP's Unicode path: readers that know it take the name from there. */
export const UNICODE_PATH_EXTRA = 0x7075;

/** The one extra field of that id: two of them are refused, because readers take either. */
export function extraField(extra: Buffer, id: number, bad: Bad): Buffer | undefined {
  let found: Buffer | undefined;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    const next = at + 4 + extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) !== id) continue;
    if (next > extra.length) throw bad(`its extra field 0x${hex4(id)} reaches past the end of the extra fields`);
    if (found !== undefined) throw bad(`it has two extra fields 0x${hex4(id)}`);
    found = extra.subarray(at + 4, next);
  }
  return found;
}

/** Refuses a Unicode path that is not the header's own name, which lies in `bytes` between `from` and `to`. */
export function checkUnicodePath(extra: Buffer, bytes: Buffer, from: number, to: number, bad: Bad): void {
  const path = extraField(extra, UNICODE_PATH_EXTRA, bad)?.subarray(5);
  if (path !== undefined && !path.equals(bytes.subarray(from, to)))
    throw bad(`${bytes.toString('utf8', from, to)}: its Unicode path field says ${JSON.stringify(path.toString())}`);
}
