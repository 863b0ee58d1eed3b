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
  /** The member whose descriptor stands before the next header: the two are one segment, made when it is written. */
  let before: Placed | undefined;
  for (const { name, content } of members) {
    const nameLength = Buffer.byteLength(name);
    if (nameLength > NAME_MAX)
      throw new CheckpointIncompatibleError(
        `A zip member's name has at most ${NAME_MAX} bytes, this one ${nameLength}: ${name.slice(0, 80)} …`,
      );
    const offset = at + descriptorLength(before);
    const member: Placed = { name, nameLength, size: lengthOf(content), offset, checksum: checksumOf(content) };
    const length = offset - at + headerLength(member, alignment);
    segments.push(between(before, member, alignment, length), content);
    placed.push(member);
    at += length + member.size;
    before = member;
  }
  if (before !== undefined) segments.push(between(before, undefined, alignment, descriptorLength(before)));
  at += descriptorLength(before);
  const length = placed.reduce((sum, member) => sum + centralLength(member), 0);
  segments.push({ kind: 'late', length, bytes: (crc32OfTensor) => directory(placed, length, crc32OfTensor) });
  const end = endRecords(placed.length, at, length);
  segments.push({ kind: 'bytes', bytes: end });
  return { segments, size: at + length + end.length };
}

/** What stands between the data of two members: the descriptor of the one, the header of the other. */
function between(before: Placed | undefined, next: Placed | undefined, alignment: number, length: number): Segment {
  return {
    kind: 'late',
    length,
    bytes: (crc32OfTensor) => {
      const bytes = Buffer.alloc(length);
      if (before !== undefined) descriptor(before, bytes, crc32OfTensor);
      if (next !== undefined) localHeader(next, alignment, bytes.subarray(descriptorLength(before)));
      return bytes;
    },
  };
}

interface Placed {
  readonly name: string;
  readonly nameLength: number;
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

function wideLength({ size, offset }: Placed): number {
  const values = (size >= WIDE ? 2 : 0) + (offset >= WIDE ? 1 : 0);
  return values === 0 ? 0 : 4 + 8 * values;
}

/** Zip64 extended information (0x0001): what does not fit into the narrow fields. */
function wideField(member: Placed, bytes: Buffer, at: number): void {
  const { size, offset } = member;
  const values = [...(size >= WIDE ? [size, size] : []), ...(offset >= WIDE ? [offset] : [])];
  if (values.length === 0) return;
  bytes.writeUInt16LE(1, at);
  bytes.writeUInt16LE(8 * values.length, at + 2);
  values.forEach((value, index) => bytes.writeBigUInt64LE(BigInt(value), at + 4 + 8 * index));
}

function flagsOf({ size }: Placed): number {
  return size === 0 ? UTF8 : UTF8 | HAS_DESCRIPTOR;
}

/** An empty member has none, as torch does it. */
function descriptorLength(member: Placed | undefined): number {
  if (member === undefined || member.size === 0) return 0;
  return isWide(member) ? DESCRIPTOR64_SIZE : DESCRIPTOR_SIZE;
}

function headerLength(member: Placed, alignment: number): number {
  const start = member.offset + LOCAL_SIZE + member.nameLength + wideLength(member) + 4;
  return start - member.offset + ((alignment - (start % alignment)) % alignment);
}

/** Sizes and checksum are 0 here: they stand behind the data and in the directory. */
function localHeader(member: Placed, alignment: number, header: Buffer): void {
  const field = LOCAL_SIZE + member.nameLength + wideLength(member);
  const padding = headerLength(member, alignment) - field - 4;
  header.write('PK\x03\x04', 0, 'latin1');
  header.writeUInt16LE(flagsOf(member), 6);
  header.writeUInt16LE(member.nameLength, 26);
  header.writeUInt16LE(wideLength(member) + 4 + padding, 28);
  header.write(member.name, LOCAL_SIZE, 'utf8');
  wideField(member, header, LOCAL_SIZE + member.nameLength);
  header.write('FB', field, 'latin1');
  header.writeUInt16LE(padding, field + 2);
  header.fill('Z', field + 4, field + 4 + padding);
}

function descriptor(member: Placed, bytes: Buffer, crc32OfTensor: Crc32OfTensor): void {
  if (member.size === 0) return;
  bytes.write('PK\x07\x08', 0, 'latin1');
  bytes.writeUInt32LE(checksumIn(member, crc32OfTensor), 4);
  if (isWide(member)) {
    bytes.writeBigUInt64LE(BigInt(member.size), 8);
    bytes.writeBigUInt64LE(BigInt(member.size), 16);
  } else {
    bytes.writeUInt32LE(member.size, 8);
    bytes.writeUInt32LE(member.size, 12);
  }
}

function checksumIn({ checksum }: Placed, crc32OfTensor: Crc32OfTensor): number {
  return typeof checksum === 'number' ? checksum : checksum(crc32OfTensor);
}

function centralLength(member: Placed): number {
  return CENTRAL_SIZE + member.nameLength + wideLength(member);
}

function directory(members: readonly Placed[], length: number, crc32OfTensor: Crc32OfTensor): Buffer {
  const bytes = Buffer.alloc(length);
  let at = 0;
  for (const member of members) {
    bytes.write('PK\x01\x02', at, 'latin1');
    bytes.writeUInt16LE(flagsOf(member), at + 8);
    bytes.writeUInt32LE(checksumIn(member, crc32OfTensor), at + 16);
    bytes.writeUInt32LE(Math.min(member.size, WIDE), at + 20);
    bytes.writeUInt32LE(Math.min(member.size, WIDE), at + 24);
    bytes.writeUInt16LE(member.nameLength, at + 28);
    bytes.writeUInt16LE(wideLength(member), at + 30);
    bytes.writeUInt32LE(Math.min(member.offset, WIDE), at + 42);
    bytes.write(member.name, at + CENTRAL_SIZE, 'utf8');
    wideField(member, bytes, at + CENTRAL_SIZE + member.nameLength);
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
