/** The smallest checkpoint that tells itself from others. */

/** One tensor of four floats, the first of them `value`. */
export function tinySafetensors(value: number): Buffer {
  const header = Buffer.from(JSON.stringify({ weight: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }));
  const bytes = Buffer.alloc(8 + header.length + 16);
  bytes.writeBigUInt64LE(BigInt(header.length));
  header.copy(bytes, 8);
  bytes.writeFloatLE(value, 8 + header.length);
  return bytes;
}
