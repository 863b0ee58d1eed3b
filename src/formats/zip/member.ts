/**
 * The bytes of a member, and those behind it that belong to none.
 *
 * Invariant: bytes are given only where local header, data descriptor, sizes and CRC-32 agree with the directory.
 */
import { crc32, inflateRawSync } from 'node:zlib';
import type { CheckpointLoadError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember } from '../../model/header.ts';
import { checkDescriptor } from './data-descriptor.ts';
import { bufferOf, corrupt, type Bad } from './fields.ts';
import { readLocalHeader } from './local-header.ts';

/** All bytes of a member, inflated and verified; refuses more than `limit` bytes. */
export async function readMember(source: ByteSource, member: ArchiveMember, limit: number): Promise<Uint8Array> {
  const bad = memberBad(source.uri, member);
  if (member.size > limit || member.stored > limit) throw bad(`it has ${member.size} bytes, at most ${limit} are read here`);
  const local = await readLocalHeader(source, member);
  const read = await source.read(local.data, member.stored + local.descriptor);
  const data = read.subarray(0, member.stored);
  if (local.descriptor > 0)
    checkDescriptor(Buffer.from(read.buffer, read.byteOffset + member.stored, local.descriptor), member, local.wide, bad);
  if (member.method === 'deflated') await source.inflates?.(member.size);
  const bytes = member.method === 'stored' ? data : inflate(data, member, bad);
  const sum = crc32(bytes);
  if (member.crc32 !== 0 && sum !== member.crc32) throw damagedMember(source.uri, member, sum);
  return bytes;
}

function inflate(data: Uint8Array, member: ArchiveMember, bad: Bad): Uint8Array {
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
    throw bad(`its deflate stream ends after ${engine.bytesWritten} of ${data.length} bytes: what follows is not part of it`);
  return buffer;
}

/** Bytes behind a member and its data descriptor that belong to none. The descriptor is compared with the directory. */
export async function strayBytes(source: ByteSource, member: ArchiveMember): Promise<{ readonly offset: number; readonly length: number }> {
  const { data, descriptor, wide } = await readLocalHeader(source, member);
  const offset = data + member.stored + descriptor;
  if (descriptor > 0)
    checkDescriptor(bufferOf(await source.read(offset - descriptor, descriptor)), member, wide, memberBad(source.uri, member));
  return { offset, length: member.end - offset };
}

/** `sum`: CRC-32 of the bytes. */
export function damagedMember(uri: string, member: ArchiveMember, sum: number): CheckpointLoadError {
  return memberBad(uri, member)(`its CRC-32 is ${sum.toString(16)}, expected ${member.crc32.toString(16)}: the bytes are damaged`);
}

function memberBad(uri: string, member: ArchiveMember): Bad {
  return (what) => corrupt(uri, `member ${member.name}: ${what}`);
}
