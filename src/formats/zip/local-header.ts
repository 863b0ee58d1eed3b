/**
 * Local headers, which stand before the data of their members and repeat what the directory says.
 *
 * Invariant: no data is believed to begin where its local header has not been compared with the directory, whether it is read or
 * held already; header and data never reach what follows in the file.
 */
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember } from '../../model/header.ts';
import { DESCRIPTOR64_SIZE, DESCRIPTOR_SIGNATURE_SIZE, DESCRIPTOR_SIZE, HAS_DESCRIPTOR } from './data-descriptor.ts';
import { checkUnicodePath, extraField, LARGEST_EXTRA, UNICODE_PATH_EXTRA, ZIP64_EXTRA } from './extra-fields.ts';
import { bufferOf, corrupt, hex4, LOCAL_HEADER_SIZE, safeInteger, SATURATED, type Bad } from './fields.ts';

const LOCAL = 0x04034b50;
/** Bytes of a local header's extra field that are read with it: torch fills it up so that data begins at multiples of 64. */
const LIKELY_EXTRA = 128;

export interface LocalHeader {
  /** Offset of the data. */
  readonly data: number;
  /** Bytes of the data descriptor behind the data, at most: its signature is optional. */
  readonly descriptor: number;
  /** Whether the sizes in it take 8 bytes. */
  readonly wide: boolean;
}

/** Reads a local header and checks it against its directory entry: name byte for byte, flags, method, and every sum and size it gives. */
export async function readLocalHeader(source: ByteSource, member: ArchiveMember): Promise<LocalHeader> {
  const likely = LOCAL_HEADER_SIZE + Buffer.byteLength(member.name) + LIKELY_EXTRA;
  const local = bufferOf(await source.read(member.header, Math.max(LOCAL_HEADER_SIZE, Math.min(likely, member.end - member.header))));
  const start = checkStart(source.uri, member, local);
  const missing = start.data - member.header - local.length;
  if (missing <= 0) return checkLocal(source.uri, member, local, start);
  const rest = await source.read(member.header + local.length, missing);
  return checkLocal(source.uri, member, Buffer.concat([local, rest]), start);
}

/**
 * Reads a member's local header, checks it against the directory, and gives the offset of the member's data. A data descriptor is
 * checked by `readMember` and `strayBytes`: the directory's word counts here.
 */
export async function dataOffset(source: ByteSource, member: ArchiveMember): Promise<number> {
  return (await readLocalHeader(source, member)).data;
}

/** The offset of a member's data, by the local header that begins at `at` of `bytes`, which are there already; undefined where they do not reach the data. */
export function heldDataOffset(uri: string, member: ArchiveMember, bytes: Uint8Array, at: number): number | undefined {
  if (bytes.length - at < LOCAL_HEADER_SIZE) return undefined;
  const plain = plainDataOffset(member, bytes, at);
  if (plain !== undefined) return plain;
  const local = bufferOf(bytes.subarray(at));
  const start = checkStart(uri, member, local);
  return start.data - member.header > local.length ? undefined : checkLocal(uri, member, local, start).data;
}

/**
 * The same offset at a glance, as there may be a hundred thousand of them: for a local header that repeats the directory entry field by field,
 * or leaves sums and sizes to the data descriptor as torch does, has its name in ASCII, and nothing in its extra field that would change
 * what they mean. Undefined: it takes the long way to say.
 */
function plainDataOffset(
  { name, flags, method, crc32, stored, size, header, end }: ArchiveMember,
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
  if (data > bytes.length || header + data - at + stored + (isLater ? DESCRIPTOR_SIZE - DESCRIPTOR_SIGNATURE_SIZE : 0) > end)
    return undefined;
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

/**
 * Where a member's data should begin, which only its local header tells: its data descriptor, where it has one, and what follows in the
 * file stand right behind the data. Undefined: there would be no room for a local header.
 */
export function likelyDataOffset({ name, flags, stored, header, end }: ArchiveMember): number | undefined {
  const descriptor = (flags & HAS_DESCRIPTOR) === 0 ? 0 : stored < SATURATED ? DESCRIPTOR_SIZE : DESCRIPTOR64_SIZE;
  const data = end - descriptor - stored;
  const least = header + LOCAL_HEADER_SIZE + Buffer.byteLength(name);
  return data >= least && data <= least + LARGEST_EXTRA ? data : undefined;
}

/** What the part of a local header says that has a fixed length. */
interface LocalStart {
  readonly flags: number;
  readonly nameLength: number;
  /** Offset of the data. */
  readonly data: number;
  /** Bytes from there to what begins behind the member. */
  readonly room: number;
}

function localBad(uri: string, member: ArchiveMember): Bad {
  return (what) => corrupt(uri, `local header of ${member.name} at ${member.header}: ${what}`);
}

/** `fixed` holds that part, and may hold more. */
function checkStart(uri: string, member: ArchiveMember, fixed: Buffer): LocalStart {
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
function checkLocal(uri: string, member: ArchiveMember, local: Buffer, { flags, nameLength, data, room }: LocalStart): LocalHeader {
  const bad = localBad(uri, member);
  const extraAt = LOCAL_HEADER_SIZE + nameLength;
  checkName(member, local, extraAt, bad);
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
    const saturated = at >= 0 && got === SATURATED && zip64 !== undefined && zip64.length >= 16;
    const value = saturated ? safeInteger(zip64.readBigUInt64LE(at), `zip64 ${field}`, bad) : got;
    if (value !== expected && !(later && value === 0)) throw bad(`its ${field} is ${value}, the directory says ${expected}`);
  }
  const wide = zip64 !== undefined;
  const descriptor = later ? (wide ? DESCRIPTOR64_SIZE : DESCRIPTOR_SIZE) : 0;
  if (member.stored + descriptor - (later ? DESCRIPTOR_SIGNATURE_SIZE : 0) > room)
    throw bad(`its data and data descriptor run into what begins at ${member.end}`);
  return { data, descriptor: Math.min(descriptor, room - member.stored), wide };
}

/** The name lies in `local` behind the part of fixed length, up to `end`. */
function checkName(member: ArchiveMember, local: Buffer, end: number, bad: Bad): void {
  // As many bytes as characters: ASCII, as nearly all are, which needs no copy to be compared.
  if (end - LOCAL_HEADER_SIZE === Buffer.byteLength(member.name) && local.toString('latin1', LOCAL_HEADER_SIZE, end) === member.name)
    return;
  const name = local.subarray(LOCAL_HEADER_SIZE, end);
  if (!name.equals(Buffer.from(member.name)))
    throw bad(
      `its name is ${JSON.stringify(name.toString())} (${name.toString('hex').slice(0, 80)}), the directory's ${JSON.stringify(member.name)}`,
    );
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;
}
