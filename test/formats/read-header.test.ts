/** How a container is told, and what a refusal tells. */
import { expect, test } from '@jest/globals';
import type { CheckpointError } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { memorySource } from '../support/memory-source.ts';
import { zip } from '../support/zip.ts';

const pickle = (...names: readonly string[]): Buffer =>
  Buffer.from(`\x80\x02(${names.map((name) => `c${name.replace(' ', '\n')}\n`).join('')}t.`, 'latin1');

async function refusal(bytes: Uint8Array): Promise<readonly string[]> {
  const error = await readHeader(memorySource(bytes)).catch((thrown: unknown) => thrown as CheckpointError);
  if (!(error instanceof Error)) throw new Error('it was read');
  expect(error.code).toBe('CheckpointValidationError');
  return (error.details['globals'] as { module: string; name: string; member: string }[]).map(
    ({ module, name, member }) => `${member}: ${module}.${name}`,
  );
}

test('every dangerous name of every pickle is in the details', async () => {
  const archive = zip([
    { name: 'a/b.pkl', data: pickle('os system', 'mine Thing') },
    { name: 'a/data.pkl', data: pickle('builtins eval', 'collections OrderedDict') },
    { name: 'a/z.pkl', data: Buffer.concat([Buffer.from('\xff', 'latin1'), pickle('runpy run_path')]) },
  ]);
  expect(await refusal(archive)).toEqual(['a/b.pkl: os.system', 'a/data.pkl: builtins.eval', 'a/z.pkl: runpy.run_path']);
});

test('also in a legacy file, of pickles behind the first bad one', async () => {
  const magic = Buffer.from('\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.', 'latin1');
  const file = Buffer.concat([magic, pickle('os system'), pickle('builtins eval'), Buffer.from('\x80\x02}.\x80\x02].', 'latin1')]);
  expect(await refusal(file)).toEqual(['protocol version: os.system', 'system information: builtins.eval']);
});

test('a safetensors file may begin with any byte: that of its length', async () => {
  const least = JSON.stringify({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] } }).length;
  for (let length = least; length < least + 256; length++) {
    const file = Buffer.alloc(8 + length + 1, ' ');
    file.writeBigUInt64LE(BigInt(length));
    file.write(JSON.stringify({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] } }), 8);
    expect((await readHeader(memorySource(file))).container).toBe('safetensors');
  }
});

test.each([
  ['GGUF\x03\0\0\0', 'it is a GGUF file'],
  ['\x93NUMPY\x01\0v\0', 'it is a NumPy array: save a dict of tensors'],
  ['\x1f\x8b\x08', 'it is gzip-compressed: decompress it first'],
  ['<html>', 'it is an HTML or XML page: perhaps an error page'],
  ['\x89HDF\r\n', 'it is an HDF5 file'],
])('what people take for a checkpoint is named: %j', async (start, says) => {
  const bytes = Buffer.concat([Buffer.from(start, 'latin1'), Buffer.alloc(600)]);
  await expect(readHeader(memorySource(bytes))).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringContaining(`is not a checkpoint: ${says}`),
  });
});
