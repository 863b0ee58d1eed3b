/**
 * How the records of a zip archive are looked at, and what is said where one does not hold. Sizes and offsets are those of PKWARE's
 * APPNOTE 6.3.10.
 */
import { CheckpointLoadError } from '../../errors.ts';

/** Bytes of a local header before its name. */
export const LOCAL_HEADER_SIZE = 30;
/** Bytes of an entry of the central directory before its name. */
export const CENTRAL_SIZE = 46;
/** In a field of two bytes, or of four: its value stands in a zip64 record or extra field. */
export const SATURATED16 = 0xffff;
export const SATURATED = 0xffffffff;

/** The error that says what is wrong with a record. */
export type Bad = (what: string) => CheckpointLoadError;

export function corrupt(uri: string, what: string): CheckpointLoadError {
  return new CheckpointLoadError(`${uri} is not a valid zip archive: ${what}.`, uri);
}

/** The same bytes, with a buffer's readers of fields. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A size or an offset of eight bytes. */
export function safeInteger(value: bigint, field: string, bad: Bad): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(`${field} is ${value}: no file is that large`);
  return Number(value);
}

export function hex4(value: number): string {
  return value.toString(16).padStart(4, '0');
}
