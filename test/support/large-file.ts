/** Large checkpoints that look random and are the same every time. */
import { createCipheriv } from 'node:crypto';
import { open } from 'node:fs/promises';

const MEBI = 1024 * 1024;

/** Writes a safetensors file of `count` tensors of `mebibytes` each, byte for byte as it is published again. */
export async function writeLargeSafetensors(path: string, count: number, mebibytes: number): Promise<void> {
  const size = mebibytes * MEBI;
  const tensors = Array.from({ length: count }, (_, index) => [
    `layers.${String(index).padStart(4, '0')}.weight`,
    { dtype: 'F32', shape: [mebibytes, 1024, 256], data_offsets: [index * size, (index + 1) * size] },
  ]);
  const header = { __metadata__: { format: 'pt' }, ...(Object.fromEntries(tensors) as object) };
  const json = Buffer.from(JSON.stringify(header));
  const text = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = await open(path, 'w');
  try {
    await file.write(Buffer.concat([length, text]));
    // The key stream of a fixed key: no two blocks are alike, so that a block out of place changes the digest.
    const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
    const zeros = Buffer.alloc(MEBI);
    for (let block = 0; block < count * mebibytes; block++) await file.write(stream.update(zeros));
  } finally {
    await file.close();
  }
}
