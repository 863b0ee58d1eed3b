/**
 * The directory of a zip archive, read by ranges and believed only where it agrees with itself.
 *
 * Invariant: what `readArchive` accepts has one directory at the very end of the file, members that do not overlap, and names
 * no two of which are equal (also not after case folding: torch looks members up ignoring case). Field names and offsets are
 * those of PKWARE's APPNOTE 6.3.10.
 */
import { crc32, inflateRawSync } from 'node:zlib';
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember, Finding } from '../../model/header.ts';
import { isSafeName, plainDigest, twinsAmong } from './names.ts';

export type Member = ArchiveMember;

export interface Archive {
  readonly members: readonly Member[];
  readonly findings: readonly Finding[];
}

const END_SIGNATURE = Buffer.from('PK\x05\x06', 'latin1');
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const END_SIZE = 22;
const END64_SIZE = 56;
const LOCATOR64_SIZE = 20;
const CENTRAL_SIZE = 46;
/** Bytes of a local header before its name. */
const LOCAL_HEADER_SIZE = 30;
const COMMENT_MAX = 0xffff;
/** First read at the end of the file: holds the directory of most archives. */
const TAIL = 128 * 1024;
/** Directory bytes: 500,000 members of torch take about 36 MB. */
const DIRECTORY_MAX = 64 * 1024 * 1024;
/** Members take memory whatever the length of their names. */
const MEMBERS_MAX = 600_000;
/** Encryption, compressed patched data, strong encryption, masked headers. */
const REFUSED_FLAGS = 0x1 | 0x20 | 0x40 | 0x2000;
const HAS_DESCRIPTOR = 0x8;
const DESCRIPTOR = 0x08074b50;
/** Signature, CRC-32 and two sizes; the zip64 form has sizes of 8 bytes. */
const DESCRIPTOR_SIZE = 16;
const DESCRIPTOR64_SIZE = 24;
/** External attribute of DOS: torch takes such a member for a folder and gives memory that was never written as its bytes. */
const IS_FOLDER = 0x10;
const LARGEST_EXTRA = 0xffff;
const ZIP64_EXTRA = 0x0001;
/** In a field of four bytes: its value stands in the zip64 extra field. */
const SATURATED = 0xffffffff;
/** Info-ZIP's Unicode path: readers that know it take the name from there. */
const UNICODE_PATH_EXTRA = 0x7075;

interface Directory {
  readonly offset: number;
  readonly size: number;
  readonly entries: number;
}

/** Reads and checks the directory; members' own headers are checked where they are read. */
export async function readArchive(source: ByteSource): Promise<Archive> {
  const { members, digests, directoryOffset, findings } = await readDirectory(source);
  checkNames(source.uri, members, digests);
  placeEnds(source.uri, members, directoryOffset, digests === null ? Buffer.byteLength : (name) => name.length);
  return { members, findings: [...findings, ...oddities(members)] };
}

/** The members of a directory that `readArchive` may refuse: twins and overlapping ones included. For looking, not for loading. */
export async function readUncheckedMembers(source: ByteSource): Promise<readonly Member[]> {
  return (await readDirectory(source)).members;
}

async function readDirectory(
  source: ByteSource,
): Promise<ReturnType<typeof parseDirectory> & { readonly directoryOffset: number; readonly findings: readonly Finding[] }> {
  const tailOffset = Math.max(0, source.size - TAIL);
  const tail = bufferOf(await source.read(tailOffset, source.size - tailOffset));
  const { directory, findings } = findDirectory(source, tail, tailOffset);
  const start = directory.offset - tailOffset;
  const bytes = start >= 0 ? tail.subarray(start, start + directory.size) : bufferOf(await source.read(directory.offset, directory.size));
  return { ...parseDirectory(source.uri, bytes, directory), directoryOffset: directory.offset, findings };
}

/** What is legal, and yet worth a line: sums that were never computed, bytes that belong to no member. */
function oddities(members: readonly Member[]): readonly Finding[] {
  const found: Finding[] = [];
  const unsummed = members.filter(({ crc32, size }) => crc32 === 0 && size > 0);
  if (unsummed[0] !== undefined)
    found.push({
      code: 'crc_not_computed',
      message: `${unsummed.length} members have a CRC-32 of 0, as torch writes it when told not to compute any: damage to them cannot be seen`,
      member: unsummed[0].name,
    });
  for (let index = 0; index < members.length; index++) {
    const member = members[index]!;
    const room = member.end - member.header - LOCAL_HEADER_SIZE - member.stored;
    if (room <= LARGEST_EXTRA + DESCRIPTOR64_SIZE) continue;
    const rest = room - Buffer.byteLength(member.name);
    if (rest > LARGEST_EXTRA + DESCRIPTOR64_SIZE)
      found.push({ code: 'archive_gap', message: `${rest} bytes behind it belong to no member`, member: member.name });
  }
  return found;
}

function findDirectory(source: ByteSource, tail: Buffer, tailOffset: number): { directory: Directory; findings: readonly Finding[] } {
  const bad = (what: string): CheckpointLoadError => corrupt(source.uri, what);
  const lowest = Math.max(0, tail.length - END_SIZE - COMMENT_MAX);
  const found: number[] = [];
  for (let at = tail.length - END_SIZE; at >= lowest; at--) {
    at = tail.lastIndexOf(END_SIGNATURE, at);
    if (at >= lowest && at + END_SIZE + tail.readUInt16LE(at + 20) === tail.length) found.push(at);
  }
  const end = found[0];
  if (end === undefined) throw bad('it has no end of central directory record: it is truncated, or has bytes after its end. Copy it again');
  // Readers go by the last signature that has a whole record behind it, whatever length its comment has.
  const last = tail.lastIndexOf(END_SIGNATURE, tail.length - END_SIZE);
  if (last > end)
    throw bad(
      `its comment, from ${tailOffset + end + END_SIZE} on, holds another end of central directory record at ${tailOffset + last}; readers would disagree on which counts`,
    );
  if (found.length > 1)
    throw bad(`it has ${found.length} end of central directory records at its end; readers would disagree on which counts`);
  const comment = tail.readUInt16LE(end + 20);
  const findings: Finding[] = comment === 0 ? [] : [{ code: 'archive_comment', message: `the archive has a comment of ${comment} bytes` }];
  let entries = tail.readUInt16LE(end + 10);
  let size = tail.readUInt32LE(end + 12);
  let offset = tail.readUInt32LE(end + 16);
  const locator = end - LOCATOR64_SIZE;
  const wide = locator >= 0 && tail.readUInt32LE(locator) === LOCATOR64;
  for (const [field, disk] of [
    ['number of this disk', tail.readUInt16LE(end + 4)],
    ['disk of the central directory', tail.readUInt16LE(end + 6)],
  ] as const)
    if (disk !== 0 && !(wide && disk === 0xffff)) throw bad(`${field} is ${disk}, expected 0`);
  if (tail.readUInt16LE(end + 8) !== entries) throw bad(`entries on this disk are ${tail.readUInt16LE(end + 8)}, in all ${entries}`);
  let directoryEnd = tailOffset + end;
  const saturated = entries === 0xffff || size === 0xffffffff || offset === 0xffffffff;
  if (wide) {
    if (tail.readUInt32LE(locator + 4) !== 0)
      throw bad(`its zip64 locator says disk ${tail.readUInt32LE(locator + 4)} for the zip64 record, expected 0`);
    if (tail.readUInt32LE(locator + 16) > 1) throw bad(`its zip64 locator counts ${tail.readUInt32LE(locator + 16)} disks, expected 1`);
    const at = safe(tail.readBigUInt64LE(locator + 8), 'zip64 end of central directory offset', bad) - tailOffset;
    if (at < 0 || at + END64_SIZE > locator || tail.readUInt32LE(at) !== END64)
      throw bad('its zip64 locator does not point at a zip64 end of central directory record');
    if (12 + safe(tail.readBigUInt64LE(at + 4), 'zip64 record size', bad) !== locator - at)
      throw bad('its zip64 end of central directory record does not end at the locator');
    for (const [field, disk] of [
      ['number of this disk', tail.readUInt32LE(at + 16)],
      ['disk of the central directory', tail.readUInt32LE(at + 20)],
    ] as const)
      if (disk !== 0) throw bad(`in its zip64 record, ${field} is ${disk}, expected 0`);
    const entries64 = safe(tail.readBigUInt64LE(at + 32), 'zip64 entries', bad);
    const size64 = safe(tail.readBigUInt64LE(at + 40), 'zip64 directory size', bad);
    const offset64 = safe(tail.readBigUInt64LE(at + 48), 'zip64 directory offset', bad);
    if (safe(tail.readBigUInt64LE(at + 24), 'zip64 entries on this disk', bad) !== entries64) throw bad('its zip64 entry counts disagree');
    for (const [name, narrow, mark, wide] of [
      ['entries', entries, 0xffff, entries64],
      ['directory size', size, 0xffffffff, size64],
      ['directory offset', offset, 0xffffffff, offset64],
    ] as const) {
      if (narrow !== mark && narrow !== wide) throw bad(`${name} is ${narrow} in the end record and ${wide} in the zip64 record`);
    }
    [entries, size, offset] = [entries64, size64, offset64];
    directoryEnd = tailOffset + at;
  } else if (saturated) throw bad('its end record asks for a zip64 record, and there is none');
  if (offset + size !== directoryEnd)
    throw bad(`its central directory should end at ${directoryEnd}, but offset ${offset} + size ${size} is ${offset + size}`);
  if (size > DIRECTORY_MAX) throw bad(`its central directory has ${size} bytes, at most ${DIRECTORY_MAX} are read`);
  if (entries > MEMBERS_MAX) throw bad(`it has ${entries} members, at most ${MEMBERS_MAX} are read`);
  if (entries * CENTRAL_SIZE > size) throw bad(`${entries} entries cannot fit into a central directory of ${size} bytes`);
  return { directory: { offset, size, entries }, findings };
}

/** A member whose end is the directory until it is known what begins behind it. */
type Placed = Omit<Member, 'end'> & { end: number };

/** `digests`: of the names; null where one is not plain. */
function parseDirectory(
  uri: string,
  bytes: Buffer,
  directory: Directory,
): { readonly members: Placed[]; readonly digests: Int32Array | null } {
  const members: Placed[] = [];
  const digests = new Int32Array(directory.entries);
  let isPlain = true;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let at = 0;
  const bad = (what: string): CheckpointLoadError =>
    corrupt(uri, `central directory entry ${members.length} at ${directory.offset + at}: ${what}`);
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
      try {
        name = decoder.decode(bytes.subarray(nameAt, extraAt));
      } catch {
        throw bad('its name is not valid UTF-8');
      }
      if (!isSafeName(name)) throw bad(`the name ${JSON.stringify(name)} is not a plain relative path`);
    }
    if ((flags & REFUSED_FLAGS) !== 0) throw bad(`${name}: flags 0x${flags.toString(16)} say it is encrypted or patched`);
    if (method !== 0 && method !== 8) throw bad(`${name}: compression method ${method}; 0 (stored) and 8 (deflated) are read`);
    const extra = extraLength === 0 ? NOTHING : bytes.subarray(extraAt, extraAt + extraLength);
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

type Bad = (what: string) => CheckpointLoadError;

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
    return safe(field.readBigUInt64LE(read - 8), 'zip64 field', bad);
  };
  return { size: take(size, wanted[0]), stored: take(stored, wanted[1]), header: take(header, wanted[2]) };
}

/** The one extra field of that id: two of them are refused, because readers take either. */
function extraField(extra: Buffer, id: number, bad: Bad): Buffer | undefined {
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

/** The name lies in `bytes` between `from` and `to`. */
function checkUnicodePath(extra: Buffer, bytes: Buffer, from: number, to: number, bad: Bad): void {
  const path = extraField(extra, UNICODE_PATH_EXTRA, bad)?.subarray(5);
  if (path !== undefined && !path.equals(bytes.subarray(from, to)))
    throw bad(`${bytes.toString('utf8', from, to)}: its Unicode path field says ${JSON.stringify(path.toString())}`);
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, '0');
}

const NOTHING = Buffer.alloc(0);

function checkNames(uri: string, members: readonly Member[], digests: Int32Array | null): void {
  const twins = twinsAmong(members, digests);
  if (twins === undefined) return;
  const [twin, name] = twins;
  const message = `${uri} has two members that readers take for one name: ${JSON.stringify(twin)} and ${JSON.stringify(name)}. torch ignores case, so which is loaded depends on the reader; refuse the file or ask for another.`;
  throw new CheckpointValidationError(message, [], { details: { path: uri, members: [twin, name] } });
}

/** Says of each member where the next thing begins. How long a local header is, only `dataOffset` learns. `lengthOf`: a name's bytes. */
function placeEnds(uri: string, members: readonly Placed[], directoryOffset: number, lengthOf: (name: string) => number): void {
  // Mostly they stand as they lie.
  const isInOrder = members.every((member, index) => index === 0 || members[index - 1]!.header <= member.header);
  const inOrder = isInOrder ? members : [...members].sort((a, b) => a.header - b.header);
  let end = 0;
  let before = 'the start of the file';
  if (inOrder.length > 0 && inOrder[0]!.header !== 0)
    throw corrupt(uri, `its first member begins at ${inOrder[0]!.header}, expected 0: there are bytes before the archive`);
  for (let index = 0; index < inOrder.length; index++) {
    const member = inOrder[index]!;
    if (index > 0) inOrder[index - 1]!.end = member.header;
    if (member.header < end)
      throw corrupt(uri, `member ${member.name} at ${member.header} overlaps ${before}, which ends at ${end} or later`);
    end = member.header + LOCAL_HEADER_SIZE + lengthOf(member.name) + member.stored;
    before = member.name;
  }
  if (end > directoryOffset) throw corrupt(uri, `member ${before} ends at ${end}, past the central directory at ${directoryOffset}`);
}

/** Bytes of a local header's extra field that are read with it: torch fills it up so that data begins at multiples of 64. */
const LIKELY_EXTRA = 128;

interface Local {
  /** Offset of the data. */
  readonly data: number;
  /** Bytes of the data descriptor behind the data, at most: its signature is optional. */
  readonly descriptor: number;
  readonly wide: boolean;
}

/** Reads a local header and checks it against its directory entry: name byte for byte, flags, method, and every sum and size it gives. */
async function readLocal(source: ByteSource, member: Member): Promise<Local> {
  const likely = LOCAL_HEADER_SIZE + Buffer.byteLength(member.name) + LIKELY_EXTRA;
  const local = bufferOf(await source.read(member.header, Math.max(LOCAL_HEADER_SIZE, Math.min(likely, member.end - member.header))));
  const start = checkStart(source.uri, member, local);
  const missing = start.data - member.header - local.length;
  if (missing <= 0) return checkLocal(source.uri, member, local, start);
  const rest = await source.read(member.header + local.length, missing);
  return checkLocal(source.uri, member, Buffer.concat([local, rest]), start);
}

/** The same out of bytes that are there already, with the local header `at` so many of them; undefined where they do not reach the member's data. */
export function heldDataOffset(uri: string, member: Member, bytes: Uint8Array, at: number): number | undefined {
  if (bytes.length - at < LOCAL_HEADER_SIZE) return undefined;
  const plain = plainDataOffset(member, bytes, at);
  if (plain !== undefined) return plain;
  const local = bufferOf(bytes.subarray(at));
  const start = checkStart(uri, member, local);
  return start.data - member.header > local.length ? undefined : checkLocal(uri, member, local, start).data;
}

/**
 * The same at a glance, as there may be a hundred thousand of them: for a local header that repeats the directory entry field by field,
 * or leaves sums and sizes to the data descriptor as torch does, has its name in ASCII, and nothing in its extra field that would change
 * what they mean. Undefined: it takes the long way to say.
 */
function plainDataOffset(
  { name, flags, method, crc32, stored, size, header, end }: Member,
  bytes: Uint8Array,
  at: number,
): number | undefined {
  if (u32(bytes, at) !== LOCAL || u16(bytes, at + 6) !== flags || u16(bytes, at + 8) !== (method === 'stored' ? 0 : 8)) return undefined;
  const isLater = (flags & HAS_DESCRIPTOR) !== 0;
  const sum = u32(bytes, at + 14);
  const packed = u32(bytes, at + 18);
  const unpacked = u32(bytes, at + 22);
  if (sum !== crc32 && !(isLater && sum === 0)) return undefined;
  if (packed !== stored && !(isLater && packed === 0)) return undefined;
  if (unpacked !== size && !(isLater && unpacked === 0)) return undefined;
  if (u16(bytes, at + 26) !== name.length) return undefined;
  const named = at + LOCAL_HEADER_SIZE;
  const extra = named + name.length;
  const data = extra + u16(bytes, at + 28);
  // Of the descriptor, the signature may be missing.
  if (data > bytes.length || header + data - at + stored + (isLater ? DESCRIPTOR_SIZE - 4 : 0) > end) return undefined;
  for (let index = 0; index < name.length; index++) {
    const code = name.charCodeAt(index);
    if (code !== bytes[named + index] || code >= 0x80) return undefined;
  }
  for (let field = extra; field + 4 <= data; field += 4 + u16(bytes, field + 2)) {
    const id = u16(bytes, field);
    if (id === ZIP64_EXTRA || id === UNICODE_PATH_EXTRA) return undefined;
  }
  return header + data - at;
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;
}

/** What the part of fixed length says. */
interface LocalStart {
  readonly flags: number;
  readonly nameLength: number;
  readonly data: number;
  /** Bytes from there to what begins behind the member. */
  readonly room: number;
}

function localBad(uri: string, member: Member): Bad {
  return (what) => corrupt(uri, `local header of ${member.name} at ${member.header}: ${what}`);
}

function checkStart(uri: string, member: Member, fixed: Buffer): LocalStart {
  const bad = localBad(uri, member);
  if (fixed.readUInt32LE(0) !== LOCAL) throw bad('no local header begins here');
  const flags = fixed.readUInt16LE(6);
  if (flags !== member.flags) throw bad(`its flags are 0x${hex4(flags)}, the directory's 0x${hex4(member.flags)}`);
  const method = fixed.readUInt16LE(8) === 0 ? 'stored' : fixed.readUInt16LE(8) === 8 ? 'deflated' : `method ${fixed.readUInt16LE(8)}`;
  if (method !== member.method) throw bad(`it says ${method}, the directory ${member.method}`);
  const nameLength = fixed.readUInt16LE(26);
  const data = member.header + LOCAL_HEADER_SIZE + nameLength + fixed.readUInt16LE(28);
  const room = member.end - data;
  if (member.stored > room) throw bad(`its ${member.stored} bytes from ${data} run into what begins at ${member.end}`);
  return { flags, nameLength, data, room };
}

/** `local` holds the whole local header, and may hold more. */
function checkLocal(uri: string, member: Member, local: Buffer, { flags, nameLength, data, room }: LocalStart): Local {
  const bad = localBad(uri, member);
  const extraAt = LOCAL_HEADER_SIZE + nameLength;
  // As many bytes as characters: ASCII, as nearly all are, which needs no copy to be compared.
  const isSame = nameLength === Buffer.byteLength(member.name) && local.toString('latin1', LOCAL_HEADER_SIZE, extraAt) === member.name;
  const name = isSame ? NOTHING : local.subarray(LOCAL_HEADER_SIZE, extraAt);
  if (!isSame && !name.equals(Buffer.from(member.name)))
    throw bad(
      `its name is ${JSON.stringify(name.toString())} (${name.toString('hex').slice(0, 80)}), the directory's ${JSON.stringify(member.name)}`,
    );
  const extra = local.subarray(extraAt, data - member.header);
  checkUnicodePath(extra, local, LOCAL_HEADER_SIZE, extraAt, bad);
  const zip64 = extraField(extra, ZIP64_EXTRA, bad);
  const later = (flags & HAS_DESCRIPTOR) !== 0;
  for (const [field, got, expected, at] of [
    ['CRC-32', local.readUInt32LE(14), member.crc32, -1],
    ['compressed size', local.readUInt32LE(18), member.stored, 8],
    ['size', local.readUInt32LE(22), member.size, 0],
  ] as const) {
    if (later && got === 0) continue;
    // Saturated sizes stand in the zip64 field, both of them (APPNOTE 4.5.3).
    const saturated = at >= 0 && got === 0xffffffff && zip64 !== undefined && zip64.length >= 16;
    const value = saturated ? safe(zip64.readBigUInt64LE(at), `zip64 ${field}`, bad) : got;
    if (value !== expected && !(later && value === 0)) throw bad(`its ${field} is ${value}, the directory says ${expected}`);
  }
  const wide = zip64 !== undefined;
  const descriptor = later ? (wide ? DESCRIPTOR64_SIZE : DESCRIPTOR_SIZE) : 0;
  if (member.stored + descriptor - (later ? 4 : 0) > room) throw bad(`its data and data descriptor run into what begins at ${member.end}`);
  return { data, descriptor: Math.min(descriptor, room - member.stored), wide };
}

/** Bytes behind a member and its data descriptor that belong to none. The descriptor is compared with the directory. */
export async function strayBytes(source: ByteSource, member: Member): Promise<{ readonly offset: number; readonly length: number }> {
  const { data, descriptor, wide } = await readLocal(source, member);
  const offset = data + member.stored + descriptor;
  if (descriptor > 0)
    checkDescriptor(bufferOf(await source.read(offset - descriptor, descriptor)), member, wide, (what) =>
      corrupt(source.uri, `member ${member.name}: ${what}`),
    );
  return { offset, length: member.end - offset };
}

/** Compares a data descriptor, with or without its signature, with the directory. */
function checkDescriptor(bytes: Buffer, member: Member, wide: boolean, bad: Bad): void {
  const at = bytes.length >= (wide ? DESCRIPTOR64_SIZE : DESCRIPTOR_SIZE) && bytes.readUInt32LE(0) === DESCRIPTOR ? 4 : 0;
  for (const [field, got, expected] of [
    ['CRC-32', bytes.readUInt32LE(at), member.crc32],
    ['compressed size', wide ? safe(bytes.readBigUInt64LE(at + 4), 'size', bad) : bytes.readUInt32LE(at + 4), member.stored],
    ['size', wide ? safe(bytes.readBigUInt64LE(at + 12), 'size', bad) : bytes.readUInt32LE(at + 8), member.size],
  ] as const)
    if (got !== expected) throw bad(`its data descriptor says ${field} ${got}, the directory ${expected}`);
}

/**
 * Where a member's data should begin: its data descriptor, where it has one, and what follows stand right behind. Undefined: it would
 * have no local header. Only the local header tells.
 */
export function likelyDataOffset({ name, flags, stored, header, end }: Member): number | undefined {
  const descriptor = (flags & HAS_DESCRIPTOR) === 0 ? 0 : stored < 0xffffffff ? DESCRIPTOR_SIZE : DESCRIPTOR64_SIZE;
  const data = end - descriptor - stored;
  const least = header + LOCAL_HEADER_SIZE + Buffer.byteLength(name);
  return data >= least && data <= least + LARGEST_EXTRA ? data : undefined;
}

/**
 * Reads a member's local header, checks it against the directory, and gives the offset of its data. Local headers and data never
 * reach what follows in the file. A data descriptor is checked by `readMember` and `strayBytes`: the directory's word counts here.
 */
export async function dataOffset(source: ByteSource, member: Member): Promise<number> {
  return (await readLocal(source, member)).data;
}

/** All bytes of a member, inflated and verified; refuses more than `limit` bytes. */
export async function readMember(source: ByteSource, member: Member, limit: number): Promise<Uint8Array> {
  const bad = (what: string): CheckpointLoadError => corrupt(source.uri, `member ${member.name}: ${what}`);
  if (member.size > limit || member.stored > limit) throw bad(`it has ${member.size} bytes, at most ${limit} are read here`);
  const local = await readLocal(source, member);
  const read = await source.read(local.data, member.stored + local.descriptor);
  const data = read.subarray(0, member.stored);
  if (local.descriptor > 0)
    checkDescriptor(Buffer.from(read.buffer, read.byteOffset + member.stored, local.descriptor), member, local.wide, bad);
  if (member.method === 'deflated') await source.inflates?.(member.size);
  const bytes = member.method === 'stored' ? data : inflate(data, member, bad);
  const sum = crc32(bytes);
  if (member.crc32 !== 0 && sum !== member.crc32)
    throw bad(`its CRC-32 is ${sum.toString(16)}, expected ${member.crc32.toString(16)}: the bytes are damaged`);
  return bytes;
}

function inflate(data: Uint8Array, member: Member, bad: Bad): Uint8Array {
  let inflated: { readonly buffer: Uint8Array; readonly engine: { readonly bytesWritten: number } };
  try {
    // With `info`, node gives the stream beside the bytes; @types/node does not say so.
    inflated = inflateRawSync(data, { maxOutputLength: Math.max(1, member.size), info: true }) as unknown as typeof inflated;
  } catch (cause) {
    throw bad(`it does not inflate to its ${member.size} bytes (${(cause as Error).message})`);
  }
  const { buffer, engine } = inflated;
  if (buffer.length !== member.size) throw bad(`it inflates to ${buffer.length} bytes, expected ${member.size}`);
  if (engine.bytesWritten !== data.length)
    throw bad(`its deflate stream ends after ${engine.bytesWritten} of ${data.length} bytes: what follows is no part of it`);
  return buffer;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function safe(value: bigint, field: string, bad: Bad): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(`${field} is ${value}: no file is that large`);
  return Number(value);
}

function corrupt(uri: string, what: string): CheckpointLoadError {
  return new CheckpointLoadError(`${uri} is no sound zip archive: ${what}.`, uri);
}
