/** Which container a file is, by its first bytes. */
import { expect, test } from '@jest/globals';
import { readHeader } from '../../src/formats/read-header.ts';
import { memorySource } from '../support/memory-source.ts';

test('a safetensors file may begin with any byte: that of its length', async () => {
  const least = JSON.stringify({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] } }).length;
  for (let length = least; length < least + 256; length++) {
    const file = Buffer.alloc(8 + length + 1, ' ');
    file.writeBigUInt64LE(BigInt(length));
    file.write(JSON.stringify({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] } }), 8);
    expect((await readHeader(memorySource(file))).container).toBe('safetensors');
  }
});
