/**
 * Members → zip archive, laid out as by torch's own writer (torch 2.15, `inline_container.cc` over miniz): stored, data aligned
 * by an `FB` extra field, checksums behind the data, zip64 where a size, an offset or the count of members asks for it.
 *
 * Invariant: every length is known before the first byte; only checksums of tensors are filled in behind their data, as the
 * format foresees (flag 0x8). No dates: the same members give the same bytes.
 */
import { crc32 } from 'node:zlib';
import { CheckpointIncompatibleError } from '../../errors.ts';
import type { Segment } from '../layout.ts';

export interface ZipMember {
  readonly name: string;
  readonly content: Segment;
}

type Crc32OfTensor = (index: number) => number;

const LOCAL_SIZE = 30;
const CENTRAL_SIZE = 46;
const DESCRIPTOR_SIZE = 16;
const DESCRIPTOR64_SIZE = 24;
/** A name in UTF-8. */
const UTF8 = 0x800;
const HAS_DESCRIPTOR = 0x8;
/** Values from here on stand in a zip64 field. */
const WIDE = 0xffffffff;
const ENTRIES_WIDE = 0xffff;
const NAME_MAX = 0xffff;
/** Made by miniz on no system in particular, as it says of itself; needed: zip64. */
const MADE_BY = 0x031e;
const NEEDED = 45;

/** Segments of the whole archive; `alignment` is the multiple that data begins at. */
export function layoutZip(
  members: readonly ZipMember[],
  alignment: number,
): { readonly segments: readonly Segment[]; readonly size: number } {
  const segments: Segment[] = [];
  const placed: Placed[] = [];
  let at = 0;
  for (const { name, content } of members) {
    const bytes = Buffer.from(name, 'utf8');
    if (bytes.length > NAME_MAX)
      throw new CheckpointIncompatibleError(
        `A zip member's name has at most ${NAME_MAX} bytes, this one ${bytes.length}: ${name.slice(0, 80)} …`,
      );
    const member: Placed = { name: bytes, size: lengthOf(content), offset: at, checksum: checksumOf(content) };
    placed.push(member);
    const header = localHeader(member, alignment);
    segments.push({ kind: 'bytes', bytes: header });
    at += header.length;
    segments.push(content);
    // As torch does: an empty member has no descriptor.
    if (member.size === 0) continue;
    const length = isWide(member) ? DESCRIPTOR64_SIZE : DESCRIPTOR_SIZE;
    const { checksum } = member;
    segments.push(
      typeof checksum === 'number'
        ? { kind: 'bytes', bytes: descriptor(member, checksum) }
        : { kind: 'late', length, bytes: (crc32OfTensor) => descriptor(member, checksum(crc32OfTensor)) },
    );
    at += member.size + length;
  }
  const length = placed.reduce((sum, member) => sum + centralLength(member), 0);
  segments.push({ kind: 'late', length, bytes: (crc32OfTensor) => directory(placed, length, crc32OfTensor) });
  const end = endRecords(placed.length, at, length);
  segments.push({ kind: 'bytes', bytes: end });
  return { segments, size: at + length + end.length };
}

interface Placed {
  readonly name: Uint8Array;
  readonly size: number;
  /** Of the local header. */
  readonly offset: number;
  readonly checksum: number | ((crc32OfTensor: Crc32OfTensor) => number);
}

function lengthOf(content: Segment): number {
  return content.kind === 'bytes' ? content.bytes.length : content.length;
}

function checksumOf(content: Segment): Placed['checksum'] {
  switch (content.kind) {
    case 'bytes':
      return crc32(content.bytes);
    case 'tensor':
      return content.length === 0 ? 0 : (crc32OfTensor) => crc32OfTensor(content.index);
    case 'late':
      return (crc32OfTensor) => crc32(content.bytes(crc32OfTensor));
  }
}

function isWide({ size, offset }: Placed): boolean {
  return size >= WIDE || offset >= WIDE;
}

/** Zip64 extended information (0x0001): what does not fit into the narrow fields. */
function wideField({ size, offset }: Placed): Buffer {
  const values = [...(size >= WIDE ? [size, size] : []), ...(offset >= WIDE ? [offset] : [])];
  if (values.length === 0) return Buffer.alloc(0);
  const field = Buffer.alloc(4 + 8 * values.length);
  field.writeUInt16LE(1, 0);
  field.writeUInt16LE(8 * values.length, 2);
  values.forEach((value, index) => field.writeBigUInt64LE(BigInt(value), 4 + 8 * index));
  return field;
}

function flagsOf({ size }: Placed): number {
  return size === 0 ? UTF8 : UTF8 | HAS_DESCRIPTOR;
}

/** Sizes and checksum are 0 here: they stand behind the data and in the directory. */
function localHeader(member: Placed, alignment: number): Buffer {
  const wide = wideField(member);
  const start = member.offset + LOCAL_SIZE + member.name.length + wide.length + 4;
  const padding = (alignment - (start % alignment)) % alignment;
  const header = Buffer.alloc(LOCAL_SIZE + member.name.length + wide.length + 4 + padding, 'Z');
  header.fill(0, 0, LOCAL_SIZE);
  header.write('PK\x03\x04', 0, 'latin1');
  header.writeUInt16LE(flagsOf(member), 6);
  header.writeUInt16LE(member.name.length, 26);
  header.writeUInt16LE(wide.length + 4 + padding, 28);
  header.set(member.name, LOCAL_SIZE);
  header.set(wide, LOCAL_SIZE + member.name.length);
  const field = LOCAL_SIZE + member.name.length + wide.length;
  header.write('FB', field, 'latin1');
  header.writeUInt16LE(padding, field + 2);
  return header;
}

function descriptor(member: Placed, checksum: number): Buffer {
  const wide = isWide(member);
  const bytes = Buffer.alloc(wide ? DESCRIPTOR64_SIZE : DESCRIPTOR_SIZE);
  bytes.write('PK\x07\x08', 0, 'latin1');
  bytes.writeUInt32LE(checksum, 4);
  if (wide) {
    bytes.writeBigUInt64LE(BigInt(member.size), 8);
    bytes.writeBigUInt64LE(BigInt(member.size), 16);
  } else {
    bytes.writeUInt32LE(member.size, 8);
    bytes.writeUInt32LE(member.size, 12);
  }
  return bytes;
}

function centralLength(member: Placed): number {
  return CENTRAL_SIZE + member.name.length + wideField(member).length;
}

function directory(members: readonly Placed[], length: number, crc32OfTensor: Crc32OfTensor): Buffer {
  const bytes = Buffer.alloc(length);
  let at = 0;
  for (const member of members) {
    const { checksum } = member;
    const wide = wideField(member);
    bytes.write('PK\x01\x02', at, 'latin1');
    bytes.writeUInt16LE(flagsOf(member), at + 8);
    bytes.writeUInt32LE(typeof checksum === 'number' ? checksum : checksum(crc32OfTensor), at + 16);
    bytes.writeUInt32LE(Math.min(member.size, WIDE), at + 20);
    bytes.writeUInt32LE(Math.min(member.size, WIDE), at + 24);
    bytes.writeUInt16LE(member.name.length, at + 28);
    bytes.writeUInt16LE(wide.length, at + 30);
    bytes.writeUInt32LE(Math.min(member.offset, WIDE), at + 42);
    bytes.set(member.name, at + CENTRAL_SIZE);
    bytes.set(wide, at + CENTRAL_SIZE + member.name.length);
    at += centralLength(member);
  }
  return bytes;
}

/** The zip64 record and its locator where they are needed; jszip takes them for foreign bytes where they are not. */
function endRecords(entries: number, offset: number, size: number): Buffer {
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(Math.min(entries, ENTRIES_WIDE), 8);
  end.writeUInt16LE(Math.min(entries, ENTRIES_WIDE), 10);
  end.writeUInt32LE(Math.min(size, WIDE), 12);
  end.writeUInt32LE(Math.min(offset, WIDE), 16);
  if (entries < ENTRIES_WIDE && size < WIDE && offset < WIDE) return end;
  const wide = Buffer.alloc(56 + 20);
  wide.write('PK\x06\x06', 0, 'latin1');
  wide.writeBigUInt64LE(44n, 4);
  wide.writeUInt16LE(MADE_BY, 12);
  wide.writeUInt16LE(NEEDED, 14);
  wide.writeBigUInt64LE(BigInt(entries), 24);
  wide.writeBigUInt64LE(BigInt(entries), 32);
  wide.writeBigUInt64LE(BigInt(size), 40);
  wide.writeBigUInt64LE(BigInt(offset), 48);
  wide.write('PK\x06\x07', 56, 'latin1');
  wide.writeBigUInt64LE(BigInt(offset + size), 64);
  wide.writeUInt32LE(1, 72);
  return Buffer.concat([wide, end]);
}
