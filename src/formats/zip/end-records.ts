/**
 * The records at the end of a zip archive, which say where its central directory lies.
 *
 * Invariant: one end of central directory record counts for every reader, a zip64 record says the same as it does, and the
 * directory ends where the first of the two begins.
 */
import type { Finding } from '../../model/header.ts';
import { CENTRAL_SIZE, corrupt, safeInteger, SATURATED, SATURATED16, type Bad } from './fields.ts';

const END_SIGNATURE = Buffer.from('PK\x05\x06', 'latin1');
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const END_SIZE = 22;
const END64_SIZE = 56;
const LOCATOR64_SIZE = 20;
const COMMENT_MAX = 0xffff;
/** Directory bytes: 500,000 members of torch take about 36 MB. */
const DIRECTORY_MAX = 64 * 1024 * 1024;
/** Members take memory whatever the length of their names. */
const MEMBERS_MAX = 600_000;

/** Where the central directory lies, and how many members it has. */
export interface Directory {
  readonly offset: number;
  readonly size: number;
  readonly entries: number;
}

/** The directory of the archive that ends with `tail`, which begins at `tailOffset` of it. */
export function findDirectory(
  uri: string,
  tail: Buffer,
  tailOffset: number,
): { readonly directory: Directory; readonly findings: readonly Finding[] } {
  const bad: Bad = (what) => corrupt(uri, what);
  const end = findEndRecord(tail, tailOffset, bad);
  const locator = end - LOCATOR64_SIZE;
  const isZip64 = locator >= 0 && tail.readUInt32LE(locator) === LOCATOR64;
  let directory = readEndRecord(tail, end, isZip64, bad);
  let directoryEnd = tailOffset + end;
  if (isZip64) {
    const at = findZip64Record(tail, tailOffset, locator, bad);
    directory = readZip64Record(tail, at, directory, bad);
    directoryEnd = tailOffset + at;
  } else if (directory.entries === SATURATED16 || directory.size === SATURATED || directory.offset === SATURATED)
    throw bad('its end record asks for a zip64 record, and there is none');
  checkExtent(directory, directoryEnd, bad);
  const comment = tail.length - end - END_SIZE;
  return {
    directory,
    findings: comment === 0 ? [] : [{ code: 'archive_comment', message: `the archive has a comment of ${comment} bytes` }],
  };
}

/** Where the end of central directory record begins in `tail`. */
function findEndRecord(tail: Buffer, tailOffset: number, bad: Bad): number {
  const lowest = Math.max(0, tail.length - END_SIZE - COMMENT_MAX);
  const found: number[] = [];
  for (let at = tail.length - END_SIZE; at >= lowest; at--) {
    at = tail.lastIndexOf(END_SIGNATURE, at);
    if (at >= lowest && at + END_SIZE + tail.readUInt16LE(at + 20) === tail.length) found.push(at);
  }
  const end = found[0];
  if (end === undefined) throw bad(withoutEnd(tail, tailOffset));
  // Readers go by the last signature that has a whole record behind it, whatever length its comment has.
  const last = tail.lastIndexOf(END_SIGNATURE, tail.length - END_SIZE);
  if (last > end)
    throw bad(
      `its comment, from ${tailOffset + end + END_SIZE} on, holds another end of central directory record at ${tailOffset + last}; readers would disagree on which counts`,
    );
  if (found.length > 1)
    throw bad(`it has ${found.length} end of central directory records at its end; readers would disagree on which counts`);
  return end;
}

/** What is wrong with a file that does not end with an end record: cut off, or there is more behind it, on which readers disagree. */
function withoutEnd(tail: Buffer, tailOffset: number): string {
  const none = 'it has no end of central directory record at its end: it is truncated';
  const last = tail.length < END_SIZE ? -1 : tail.lastIndexOf(END_SIGNATURE, tail.length - END_SIZE);
  // Farther from the end, torch does not find it either.
  const after = last === -1 ? 0 : tail.length - (last + END_SIZE + tail.readUInt16LE(last + 20));
  if (after <= 0 || after >= COMMENT_MAX - END_SIZE) return `${none}. Copy it again`;
  return `${none}, or ${after === 1 ? '1 byte stands' : `${after} bytes stand`} behind its end at ${tailOffset + tail.length - after}. Copy it again; where its source is like this, torch.save(torch.load(path, weights_only=True), new_path) writes it without them`;
}

/** What the end record says; its fields may be saturated. */
function readEndRecord(tail: Buffer, end: number, isZip64: boolean, bad: Bad): Directory {
  for (const [field, disk] of [
    ['number of this disk', tail.readUInt16LE(end + 4)],
    ['disk of the central directory', tail.readUInt16LE(end + 6)],
  ] as const)
    if (disk !== 0 && !(isZip64 && disk === SATURATED16)) throw bad(`${field} is ${disk}, expected 0`);
  const entries = tail.readUInt16LE(end + 10);
  if (tail.readUInt16LE(end + 8) !== entries) throw bad(`entries on this disk are ${tail.readUInt16LE(end + 8)}, in all ${entries}`);
  return { entries, size: tail.readUInt32LE(end + 12), offset: tail.readUInt32LE(end + 16) };
}

/** Where the zip64 end of central directory record begins in `tail`, to which the locator in front of the end record points. */
function findZip64Record(tail: Buffer, tailOffset: number, locator: number, bad: Bad): number {
  if (tail.readUInt32LE(locator + 4) !== 0)
    throw bad(`its zip64 locator says disk ${tail.readUInt32LE(locator + 4)} for the zip64 record, expected 0`);
  if (tail.readUInt32LE(locator + 16) > 1) throw bad(`its zip64 locator counts ${tail.readUInt32LE(locator + 16)} disks, expected 1`);
  const at = safeInteger(tail.readBigUInt64LE(locator + 8), 'zip64 end of central directory offset', bad) - tailOffset;
  if (at < 0 || at + END64_SIZE > locator || tail.readUInt32LE(at) !== END64)
    throw bad('its zip64 locator does not point at a zip64 end of central directory record');
  if (12 + safeInteger(tail.readBigUInt64LE(at + 4), 'zip64 record size', bad) !== locator - at)
    throw bad('its zip64 end of central directory record does not end at the locator');
  return at;
}

/** What the zip64 record says, where `narrow`, the end record, says the same or is saturated. */
function readZip64Record(tail: Buffer, at: number, narrow: Directory, bad: Bad): Directory {
  for (const [field, disk] of [
    ['number of this disk', tail.readUInt32LE(at + 16)],
    ['disk of the central directory', tail.readUInt32LE(at + 20)],
  ] as const)
    if (disk !== 0) throw bad(`in its zip64 record, ${field} is ${disk}, expected 0`);
  const entries = safeInteger(tail.readBigUInt64LE(at + 32), 'zip64 entries', bad);
  const size = safeInteger(tail.readBigUInt64LE(at + 40), 'zip64 directory size', bad);
  const offset = safeInteger(tail.readBigUInt64LE(at + 48), 'zip64 directory offset', bad);
  if (safeInteger(tail.readBigUInt64LE(at + 24), 'zip64 entries on this disk', bad) !== entries)
    throw bad('its zip64 entry counts disagree');
  for (const [name, given, saturated, wide] of [
    ['entries', narrow.entries, SATURATED16, entries],
    ['directory size', narrow.size, SATURATED, size],
    ['directory offset', narrow.offset, SATURATED, offset],
  ] as const)
    if (given !== saturated && given !== wide) throw bad(`${name} is ${given} in the end record and ${wide} in the zip64 record`);
  return { offset, size, entries };
}

function checkExtent({ offset, size, entries }: Directory, end: number, bad: Bad): void {
  if (offset + size !== end)
    throw bad(`its central directory should end at ${end}, but offset ${offset} + size ${size} is ${offset + size}`);
  if (size > DIRECTORY_MAX) throw bad(`its central directory has ${size} bytes, at most ${DIRECTORY_MAX} are read`);
  if (entries > MEMBERS_MAX) throw bad(`it has ${entries} members, at most ${MEMBERS_MAX} are read`);
  if (entries * CENTRAL_SIZE > size) throw bad(`${entries} entries cannot fit into a central directory of ${size} bytes`);
}
