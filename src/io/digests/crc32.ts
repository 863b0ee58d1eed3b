/** CRC-32 of a part of some bytes: zlib's, but for short ones, for which a view and a call out of the engine take longer than the sum. */
import { crc32 } from 'node:zlib';

/** Bytes up to which a table is as quick. */
const SHORT = 128;

/** By the lowest byte of what is left, of the polynomial of zip; in four steps, for four bytes at a time. */
const TABLE = new Int32Array(4 * 256);
for (let byte = 0; byte < 256; byte++) {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = (rest & 1) === 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  TABLE[byte] = rest;
}
for (let at = 256; at < TABLE.length; at++) TABLE[at] = (TABLE[at - 256]! >>> 8) ^ TABLE[TABLE[at - 256]! & 0xff]!;

/** Of `bytes` from `from` to `to`; `before`: the CRC-32 of what stands in front of them, which is summed with them. */
export function crc32Of(bytes: Uint8Array, from: number, to: number, before = 0): number {
  if (to - from > SHORT) return crc32(bytes.subarray(from, to), before);
  let rest = ~before;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    rest ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    rest = TABLE[768 + (rest & 0xff)]! ^ TABLE[512 + ((rest >>> 8) & 0xff)]! ^ TABLE[256 + ((rest >>> 16) & 0xff)]! ^ TABLE[rest >>> 24]!;
  }
  for (; at < to; at++) rest = TABLE[(rest ^ bytes[at]!) & 0xff]! ^ (rest >>> 8);
  return ~rest >>> 0;
}
