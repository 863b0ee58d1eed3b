/** Bytes of a pickle in a row, as opcodes need them. */
import { CheckpointIncompatibleError } from '../../errors.ts';
import { isWellFormed } from '../unicode.ts';

export interface ByteBuffer {
  byte(value: number): ByteBuffer;
  u32(value: number): ByteBuffer;
  f64(value: number): ByteBuffer;
  ascii(value: string): ByteBuffer;
  bytes(value: Uint8Array): ByteBuffer;
  /** UTF-8 behind its length in four bytes. */
  text(value: string): ByteBuffer;
  done(): Uint8Array;
}

/** Bytes in a row; the memory doubles, so that a write costs the same whatever was written. */
export function byteBuffer(): ByteBuffer {
  let memory = Buffer.allocUnsafe(64 * 1024);
  let at = 0;
  const room = (length: number): void => {
    if (at + length <= memory.length) return;
    const larger = Buffer.allocUnsafe(Math.max(memory.length * 2, at + length));
    memory.copy(larger, 0, 0, at);
    memory = larger;
  };
  const buffer: ByteBuffer = {
    byte(value) {
      room(1);
      memory[at++] = value;
      return buffer;
    },
    u32(value) {
      room(4);
      at = memory.writeUInt32LE(value, at);
      return buffer;
    },
    f64(value) {
      room(8);
      // One NaN for all: the payload of Number.NaN is the platform's.
      if (Number.isNaN(value)) at = memory.writeBigUInt64BE(0x7ff8000000000000n, at);
      else at = memory.writeDoubleBE(value, at);
      return buffer;
    },
    ascii(value) {
      room(value.length);
      at += memory.write(value, at, 'latin1');
      return buffer;
    },
    bytes(value) {
      room(value.length);
      memory.set(value, at);
      at += value.length;
      return buffer;
    },
    text(value) {
      // No character takes more than three bytes for each of its code units.
      room(4 + 3 * value.length);
      const length = memory.write(value, at + 4, 'utf8');
      // More than ASCII. Each lone surrogate would become the same character, and one of two such keys be lost.
      if (length > value.length && !isWellFormed(value))
        throw new CheckpointIncompatibleError(
          `The text ${JSON.stringify(value.slice(0, 200))} holds a lone surrogate, for which UTF-8 has no form. Rename it or leave it out.`,
          { details: { reason: 'lone_surrogate' } },
        );
      memory.writeUInt32LE(length, at);
      at += 4 + length;
      return buffer;
    },
    done: () => new Uint8Array(memory.subarray(0, at)),
  };
  return buffer;
}
