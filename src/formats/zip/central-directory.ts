/**
 * The central directory of a zip archive: an entry for each member, which stands next to the one before.
 *
 * Invariant: an entry says one thing to every reader (name, sizes, place), and there are as many as the end record counts. What
 * members are to each other is for `archive.ts` to say.
 */
import type { ArchiveMember } from '../../model/header.ts';
import type { Directory } from './end-records.ts';
import { checkUnicodePath, extraField, ZIP64_EXTRA } from './extra-fields.ts';
import { CENTRAL_SIZE, corrupt, safeInteger, SATURATED, type Bad } from './fields.ts';
import { isSafeName, plainDigest } from './names.ts';

const CENTRAL = 0x02014b50;
/** Encryption, compressed patched data, strong encryption, masked headers. */
const REFUSED_FLAGS = 0x1 | 0x20 | 0x40 | 0x2000;
/** External attribute of DOS: torch takes such a member for a folder and gives memory that was never written as its bytes. */
const IS_FOLDER = 0x10;
const NO_EXTRA = Buffer.alloc(0);
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A member of the directory: its end is that of all members, the directory's own place, until it is known what begins behind it. */
export type Placed = Omit<ArchiveMember, 'end'> & { end: number };

/** The members that `bytes`, the whole directory, lists. `digests`: of their names; null where one is not plain. */
export function parseDirectory(
  uri: string,
  bytes: Buffer,
  directory: Directory,
): { readonly members: Placed[]; readonly digests: Int32Array | null } {
  const members: Placed[] = [];
  const digests = new Int32Array(directory.entries);
  let isPlain = true;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  const bad: Bad = (what) => corrupt(uri, `central directory entry ${members.length} at ${directory.offset + at}: ${what}`);
  while (at < bytes.length) {
    if (at + CENTRAL_SIZE > bytes.length || view.getUint32(at, true) !== CENTRAL) throw bad('no entry begins here');
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const extraLength = view.getUint16(at + 30, true);
    const nameAt = at + CENTRAL_SIZE;
    const extraAt = nameAt + view.getUint16(at + 28, true);
    const next = extraAt + extraLength + view.getUint16(at + 32, true);
    if (next > bytes.length) throw bad('it reaches past the end of the directory');
    let name: string;
    const digest = plainDigest(bytes, nameAt, extraAt);
    if (digest !== undefined) {
      digests[members.length] = digest;
      name = bytes.toString('latin1', nameAt, extraAt);
    } else {
      isPlain = false;
      name = decodeName(bytes.subarray(nameAt, extraAt), bad);
    }
    if ((flags & REFUSED_FLAGS) !== 0) throw bad(`${name}: flags 0x${flags.toString(16)} say it is encrypted or patched`);
    if (method !== 0 && method !== 8) throw bad(`${name}: compression method ${method}; 0 (stored) and 8 (deflated) are read`);
    const extra = extraLength === 0 ? NO_EXTRA : bytes.subarray(extraAt, extraAt + extraLength);
    if (extraLength > 0) checkUnicodePath(extra, bytes, nameAt, extraAt, bad);
    let size = view.getUint32(at + 24, true);
    let stored = view.getUint32(at + 20, true);
    let header = view.getUint32(at + 42, true);
    if (extraLength > 0 || size === SATURATED || stored === SATURATED || header === SATURATED)
      ({ size, stored, header } = zip64Fields(extra, size, stored, header, bad));
    if (view.getUint16(at + 34, true) !== 0) throw bad(`${name}: disk number ${view.getUint16(at + 34, true)}, expected 0`);
    if (size > 0 && ((view.getUint32(at + 38, true) & IS_FOLDER) !== 0 || name.endsWith('/')))
      throw bad(`${name}: it says it is a folder, and has ${size} bytes`);
    if (method === 0 && size !== stored) throw bad(`${name}: stored, but its sizes are ${size} and ${stored}`);
    members.push({
      kind: 'member',
      name,
      header,
      method: method === 0 ? 'stored' : 'deflated',
      stored,
      size,
      crc32: view.getUint32(at + 16, true),
      flags,
      end: directory.offset,
    });
    at = next;
  }
  if (members.length !== directory.entries)
    throw corrupt(uri, `its end record counts ${directory.entries} entries, its central directory holds ${members.length}`);
  return { members, digests: isPlain ? digests : null };
}

function decodeName(bytes: Buffer, bad: Bad): string {
  let name: string;
  try {
    name = UTF8.decode(bytes);
  } catch {
    throw bad('its name is not valid UTF-8');
  }
  if (!isSafeName(name)) throw bad(`the name ${JSON.stringify(name)} is not a plain relative path`);
  return name;
}

/** The three sizes and offsets, from the zip64 extended information (0x0001) where the narrow field is saturated. */
function zip64Fields(
  extra: Buffer,
  size: number,
  stored: number,
  header: number,
  bad: Bad,
): { size: number; stored: number; header: number } {
  const field = extraField(extra, ZIP64_EXTRA, bad);
  const wanted = [size === SATURATED, stored === SATURATED, header === SATURATED] as const;
  if (!wanted.includes(true)) return { size, stored, header };
  if (field === undefined) throw bad('a size of 0xffffffff without a zip64 extra field');
  let read = 0;
  const take = (narrow: number, isWanted: boolean | undefined): number => {
    if (isWanted !== true) return narrow;
    if (read + 8 > field.length) throw bad('its zip64 extra field is too short');
    read += 8;
    return safeInteger(field.readBigUInt64LE(read - 8), 'zip64 field', bad);
  };
  return { size: take(size, wanted[0]), stored: take(stored, wanted[1]), header: take(header, wanted[2]) };
}
