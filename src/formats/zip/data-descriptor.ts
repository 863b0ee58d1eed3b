/** Data descriptors: a member's sum and sizes, behind its data, where its local header leaves them out. Compared with the directory. */
import type { ArchiveMember } from '../../model/header.ts';
import { safeInteger, type Bad } from './fields.ts';

/** General purpose bit 3: sizes and sum stand behind the data. */
export const HAS_DESCRIPTOR = 0x8;
/** Signature, CRC-32 and two sizes; the zip64 form has sizes of 8 bytes. */
export const DESCRIPTOR_SIZE = 16;
export const DESCRIPTOR64_SIZE = 24;
/** The signature may be missing. */
export const DESCRIPTOR_SIGNATURE_SIZE = 4;
const DESCRIPTOR = 0x08074b50;

/** Compares a data descriptor, with or without its signature, with the directory. */
export function checkDescriptor(bytes: Buffer, member: ArchiveMember, wide: boolean, bad: Bad): void {
  const at =
    bytes.length >= (wide ? DESCRIPTOR64_SIZE : DESCRIPTOR_SIZE) && bytes.readUInt32LE(0) === DESCRIPTOR ? DESCRIPTOR_SIGNATURE_SIZE : 0;
  for (const [field, got, expected] of [
    ['CRC-32', bytes.readUInt32LE(at), member.crc32],
    ['compressed size', wide ? safeInteger(bytes.readBigUInt64LE(at + 4), 'size', bad) : bytes.readUInt32LE(at + 4), member.stored],
    ['size', wide ? safeInteger(bytes.readBigUInt64LE(at + 12), 'size', bad) : bytes.readUInt32LE(at + 8), member.size],
  ] as const)
    if (got !== expected) throw bad(`its data descriptor says ${field} ${got}, the directory ${expected}`);
}
