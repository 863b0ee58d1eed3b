/** The checksum of a part, and what a store tells of one that it holds. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { PartSum, PartSums, S3Part } from './port.ts';

/** `known`: the CRC-32 of the bytes. */
export function partSum(kind: PartSums, bytes: Uint8Array, known?: number): PartSum {
  if (kind === 'md5') return { kind, base64: createHash('md5').update(bytes).digest('base64') };
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(known ?? crc32(bytes));
  return { kind, base64: sum.toString('base64') };
}

/** True where a part that the store holds has these bytes, as far as the store tells. */
export function isSame({ crc32: told, etag }: S3Part, bytes: Uint8Array, known?: number): boolean {
  if (told !== null) return told === partSum('crc32', bytes, known).base64;
  return etag.replace(/"/g, '') === createHash('md5').update(bytes).digest('hex');
}
