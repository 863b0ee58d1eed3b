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
import type { Finding } from '../../model/header.ts';

export interface Member {
  readonly name: string;
  readonly method: 'stored' | 'deflated';
  /** General purpose bit flag. */
  readonly flags: number;
  /** Of the uncompressed bytes; 0 where the writer did not compute it. */
  readonly crc32: number;
  /** Bytes in the file. */
  readonly compressed: number;
  /** Uncompressed bytes. */
  readonly size: number;
  /** Offset of the local header. */
  readonly header: number;
}

export interface Archive {
  readonly members: readonly Member[];
  readonly findings: readonly Finding[];
}

const END = 0x06054b50;
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
/** Directory bytes: 100,000 members of torch take about 8 MB. */
const DIRECTORY_MAX = 256 * 1024 * 1024;
/** Encryption, compressed patched data, strong encryption, masked headers. */
const REFUSED_FLAGS = 0x1 | 0x20 | 0x40 | 0x2000;
const HAS_DESCRIPTOR = 0x8;

interface Directory {
  readonly offset: number;
  readonly size: number;
  readonly entries: number;
}

export async function readArchive(source: ByteSource): Promise<Archive> {
  const tailOffset = Math.max(0, source.size - TAIL);
  const tail = Buffer.from(await source.read(tailOffset, source.size - tailOffset));
  const { directory, findings } = findDirectory(source, tail, tailOffset);
  const start = directory.offset - tailOffset;
  const bytes =
    start >= 0 ? tail.subarray(start, start + directory.size) : Buffer.from(await source.read(directory.offset, directory.size));
  const members = parseDirectory(source.uri, bytes, directory);
  checkNames(source.uri, members);
  checkOverlap(source.uri, members, directory.offset);
  return { members, findings };
}

function findDirectory(source: ByteSource, tail: Buffer, tailOffset: number): { directory: Directory; findings: readonly Finding[] } {
  const bad = (what: string): CheckpointLoadError => corrupt(source.uri, what);
  const lowest = Math.max(0, tail.length - END_SIZE - COMMENT_MAX);
  const found: number[] = [];
  for (let at = tail.length - END_SIZE; at >= lowest; at--) {
    if (tail.readUInt32LE(at) === END && at + END_SIZE + tail.readUInt16LE(at + 20) === tail.length) found.push(at);
  }
  const end = found[0];
  if (end === undefined) throw bad('it has no end of central directory record: it is truncated, or has bytes after its end. Copy it again');
  if (found.length > 1)
    throw bad(`it has ${found.length} end of central directory records at its end; readers would disagree on which counts`);
  const comment = tail.readUInt16LE(end + 20);
  const findings: Finding[] = comment === 0 ? [] : [{ code: 'archive_comment', message: `the archive has a comment of ${comment} bytes` }];
  let entries = tail.readUInt16LE(end + 10);
  let size = tail.readUInt32LE(end + 12);
  let offset = tail.readUInt32LE(end + 16);
  if (tail.readUInt16LE(end + 4) !== 0 && tail.readUInt16LE(end + 4) !== 0xffff)
    throw bad(`number of this disk is ${tail.readUInt16LE(end + 4)}, expected 0`);
  if (tail.readUInt16LE(end + 6) !== 0 && tail.readUInt16LE(end + 6) !== 0xffff)
    throw bad(`disk of the central directory is ${tail.readUInt16LE(end + 6)}, expected 0`);
  if (tail.readUInt16LE(end + 8) !== entries) throw bad(`entries on this disk are ${tail.readUInt16LE(end + 8)}, in all ${entries}`);
  let directoryEnd = tailOffset + end;
  const locator = end - LOCATOR64_SIZE;
  const saturated = entries === 0xffff || size === 0xffffffff || offset === 0xffffffff;
  if (locator >= 0 && tail.readUInt32LE(locator) === LOCATOR64) {
    const at = safe(tail.readBigUInt64LE(locator + 8), 'zip64 end of central directory offset', bad) - tailOffset;
    if (at < 0 || at + END64_SIZE > locator || tail.readUInt32LE(at) !== END64)
      throw bad('its zip64 locator does not point at a zip64 end of central directory record');
    if (12 + safe(tail.readBigUInt64LE(at + 4), 'zip64 record size', bad) !== locator - at)
      throw bad('its zip64 end of central directory record does not end at the locator');
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
  if (entries * CENTRAL_SIZE > size) throw bad(`${entries} entries cannot fit into a central directory of ${size} bytes`);
  return { directory: { offset, size, entries }, findings };
}

function parseDirectory(uri: string, bytes: Buffer, directory: Directory): readonly Member[] {
  const members: Member[] = [];
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let at = 0;
  while (at < bytes.length) {
    const bad = (what: string): CheckpointLoadError =>
      corrupt(uri, `central directory entry ${members.length} at ${directory.offset + at}: ${what}`);
    if (at + CENTRAL_SIZE > bytes.length || bytes.readUInt32LE(at) !== CENTRAL) throw bad('no entry begins here');
    const flags = bytes.readUInt16LE(at + 8);
    const method = bytes.readUInt16LE(at + 10);
    const nameLength = bytes.readUInt16LE(at + 28);
    const extraLength = bytes.readUInt16LE(at + 30);
    const next = at + CENTRAL_SIZE + nameLength + extraLength + bytes.readUInt16LE(at + 32);
    if (next > bytes.length) throw bad('it reaches past the end of the directory');
    const raw = bytes.subarray(at + CENTRAL_SIZE, at + CENTRAL_SIZE + nameLength);
    let name: string;
    try {
      name = decoder.decode(raw);
    } catch {
      throw bad('its name is not valid UTF-8');
    }
    checkName(name, bad);
    if ((flags & REFUSED_FLAGS) !== 0) throw bad(`${name}: flags 0x${flags.toString(16)} say it is encrypted or patched`);
    if (method !== 0 && method !== 8) throw bad(`${name}: compression method ${method}; 0 (stored) and 8 (deflated) are read`);
    const extra = bytes.subarray(at + CENTRAL_SIZE + nameLength, at + CENTRAL_SIZE + nameLength + extraLength);
    const wide = zip64Fields(extra, bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42), bad);
    if (bytes.readUInt16LE(at + 34) !== 0) throw bad(`${name}: disk number ${bytes.readUInt16LE(at + 34)}, expected 0`);
    if (method === 0 && wide.size !== wide.compressed) throw bad(`${name}: stored, but its sizes are ${wide.size} and ${wide.compressed}`);
    members.push({ name, method: method === 0 ? 'stored' : 'deflated', flags, crc32: bytes.readUInt32LE(at + 16), ...wide });
    at = next;
  }
  if (members.length !== directory.entries)
    throw corrupt(uri, `its end record counts ${directory.entries} entries, its central directory holds ${members.length}`);
  return members;
}

type Bad = (what: string) => CheckpointLoadError;

/** The three sizes and offsets, from the zip64 extended information (0x0001) where the narrow field is saturated. */
function zip64Fields(
  extra: Buffer,
  size: number,
  compressed: number,
  header: number,
  bad: Bad,
): { size: number; compressed: number; header: number } {
  const wanted = [size, compressed, header].map((value) => value === 0xffffffff);
  if (!wanted.includes(true)) return { size, compressed, header };
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    const field = extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
    let read = 0;
    const take = (narrow: number, isWanted: boolean | undefined): number => {
      if (isWanted !== true) return narrow;
      if (read + 8 > field.length) throw bad('its zip64 extra field is too short');
      read += 8;
      return safe(field.readBigUInt64LE(read - 8), 'zip64 field', bad);
    };
    return { size: take(size, wanted[0]), compressed: take(compressed, wanted[1]), header: take(header, wanted[2]) };
  }
  throw bad('a size of 0xffffffff without a zip64 extra field');
}

function checkName(name: string, bad: Bad): void {
  if (
    name === '' ||
    name.includes('\0') ||
    name.includes('\\') ||
    name.startsWith('/') ||
    /^[a-z]:/i.test(name) ||
    name.split('/').includes('..')
  ) {
    throw bad(`the name ${JSON.stringify(name)} is not a plain relative path`);
  }
}

function checkNames(uri: string, members: readonly Member[]): void {
  const seen = new Map<string, string>();
  for (const { name } of members) {
    const folded = name.toLowerCase();
    const twin = seen.get(folded);
    if (twin !== undefined) {
      const message = `${uri} has two members that readers take for one name: ${JSON.stringify(twin)} and ${JSON.stringify(name)}. torch ignores case, so which is loaded depends on the reader; refuse the file or ask for another.`;
      throw new CheckpointValidationError(message, [], { details: { path: uri, members: [twin, name] } });
    }
    seen.set(folded, name);
  }
}

function checkOverlap(uri: string, members: readonly Member[], directoryOffset: number): void {
  const inOrder = [...members].sort((a, b) => a.header - b.header);
  let end = 0;
  let before = 'the start of the file';
  if (inOrder.length > 0 && inOrder[0]!.header !== 0)
    throw corrupt(uri, `its first member begins at ${inOrder[0]!.header}, expected 0: there are bytes before the archive`);
  for (const member of inOrder) {
    if (member.header < end)
      throw corrupt(uri, `member ${member.name} at ${member.header} overlaps ${before}, which ends at ${end} or later`);
    end = member.header + LOCAL_HEADER_SIZE + Buffer.byteLength(member.name) + member.compressed;
    before = member.name;
  }
  if (end > directoryOffset) throw corrupt(uri, `member ${before} ends at ${end}, past the central directory at ${directoryOffset}`);
}

/** Checks the local header at the start of `bytes` against its directory entry; gives its length: the distance to the data. */
function checkLocalHeader(uri: string, member: Omit<Member, 'flags'>, bytes: Uint8Array): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bad = (what: string): CheckpointLoadError => corrupt(uri, `local header of ${member.name} at ${member.header}: ${what}`);
  if (view.length < LOCAL_HEADER_SIZE || view.readUInt32LE(0) !== LOCAL) throw bad('no local header begins here');
  const flags = view.readUInt16LE(6);
  if ((flags & REFUSED_FLAGS) !== 0) throw bad(`flags 0x${flags.toString(16)} say it is encrypted or patched, the directory does not`);
  const method = view.readUInt16LE(8) === 0 ? 'stored' : view.readUInt16LE(8) === 8 ? 'deflated' : `method ${view.readUInt16LE(8)}`;
  if (method !== member.method) throw bad(`it says ${method}, the directory ${member.method}`);
  const nameLength = view.readUInt16LE(26);
  const name = view.subarray(LOCAL_HEADER_SIZE, LOCAL_HEADER_SIZE + nameLength).toString('utf8');
  if (name !== member.name) throw bad(`its name is ${JSON.stringify(name)}, the directory's ${JSON.stringify(member.name)}`);
  if ((flags & HAS_DESCRIPTOR) === 0) {
    for (const [field, got, expected] of [
      ['CRC-32', view.readUInt32LE(14), member.crc32],
      ['compressed size', view.readUInt32LE(18), member.compressed],
      ['size', view.readUInt32LE(22), member.size],
    ] as const) {
      if (got !== expected && got !== 0xffffffff) throw bad(`${field} is ${got}, the directory says ${expected}`);
    }
  }
  return LOCAL_HEADER_SIZE + nameLength + view.readUInt16LE(28);
}

/** Reads a member's local header, checks it against the directory, and gives the offset of its data. */
export async function dataOffset(source: ByteSource, member: Omit<Member, 'flags'>): Promise<number> {
  const fixed = Buffer.from(await source.read(member.header, LOCAL_HEADER_SIZE));
  const length = LOCAL_HEADER_SIZE + fixed.readUInt16LE(26) + fixed.readUInt16LE(28);
  return member.header + checkLocalHeader(source.uri, member, await source.read(member.header, length));
}

/** All bytes of a member, inflated and verified; refuses more than `limit` bytes. */
export async function readMember(source: ByteSource, member: Member, limit: number): Promise<Uint8Array> {
  const bad = (what: string): CheckpointLoadError => corrupt(source.uri, `member ${member.name}: ${what}`);
  if (member.size > limit || member.compressed > limit) throw bad(`it has ${member.size} bytes, at most ${limit} are read here`);
  const data = await source.read(await dataOffset(source, member), member.compressed);
  const bytes = member.method === 'stored' ? data : inflate(data, member, bad);
  const sum = crc32(bytes);
  if (member.crc32 !== 0 && sum !== member.crc32)
    throw bad(`its CRC-32 is ${sum.toString(16)}, expected ${member.crc32.toString(16)}: the bytes are damaged`);
  return bytes;
}

function inflate(data: Uint8Array, member: Member, bad: Bad): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = inflateRawSync(data, { maxOutputLength: Math.max(1, member.size) });
  } catch (cause) {
    throw bad(`it does not inflate to its ${member.size} bytes (${(cause as Error).message})`);
  }
  if (bytes.length !== member.size) throw bad(`it inflates to ${bytes.length} bytes, expected ${member.size}`);
  return bytes;
}

function safe(value: bigint, field: string, bad: Bad): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(`${field} is ${value}: no file is that large`);
  return Number(value);
}

function corrupt(uri: string, what: string): CheckpointLoadError {
  return new CheckpointLoadError(`${uri} is no sound zip archive: ${what}.`, uri);
}
