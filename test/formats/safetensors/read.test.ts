/** Where the reference (safetensors 0.8) draws the line between a header and none; each case was run through it. */
import { expect, test } from '@jest/globals';
import { readSafetensors } from '../../../src/formats/safetensors/read.ts';
import { memorySource } from '../../support/memory-source.ts';

function file(header: unknown, data = 0): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(data)]);
}

const tensor = (shape: readonly number[], bytes = 0, dtype = 'F32'): unknown => ({ a: { dtype, shape, data_offsets: [0, bytes] } });

test.each([
  ['a size of 0 first', [0, 2 ** 40, 2 ** 40], 0],
  ['a product of 2^63, then 0', [2 ** 53 - 1, 2 ** 10, 0], 0],
  ['65 dimensions', Array.from({ length: 65 }, () => 1), 4],
  ['300 dimensions', Array.from({ length: 300 }, () => 1), 4],
])('accepted: %s', async (_, shape, bytes) => {
  expect((await readSafetensors(memorySource(file(tensor(shape, bytes), bytes)))).tensors[0]?.shape).toEqual(shape);
});

test.each([
  ['a product that overflows 64 bits before its 0', [2 ** 40, 2 ** 40, 0]],
  ['a product of just 2^64 before its 0', [2 ** 32, 2 ** 32, 0]],
])('refused: %s', async (_, shape) => {
  await expect(readSafetensors(memorySource(file(tensor(shape))))).rejects.toThrow(
    expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringMatching(/tensor a: its shape .* overflows 64 bits/) }),
  );
});

test.each([
  ['a name', '{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'],
  ['a key of the metadata', '{"__metadata__":{"a\\udfff":""}}'],
  ['a value of the metadata', '{"__metadata__":{"k":"\\ude00\\ud83d"}}'],
])('refused: %s with a lone surrogate', async (_, header) => {
  await expect(readSafetensors(memorySource(file(header, 1)))).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringMatching(/the string ".*" holds a lone surrogate at character/),
  });
});

const entry = '"dtype":"F32","shape":[1],"data_offsets":[0,4]';
test.each([
  ['no metadata, as null', `{"__metadata__":null,"a":{${entry}}}`],
  ['a field of others', `{"a":{"x":1,${entry},"y":null}}`],
  ['one that holds more', `{"a":{${entry},"x":{"y":[1,"}",{"z":-1.5e3}]}}}`],
])('accepted: %s', async (_, header) => {
  const { weights, metadata } = await readSafetensors(memorySource(file(header, 4)));
  expect([weights.map(({ name }) => name), metadata]).toEqual([['a'], {}]);
});

test.each([
  ['a field of others that is not JSON', `{"a":{${entry},"x":nope}}`, 'a value is not valid JSON'],
  ['one without a value', `{"a":{${entry},"x":,"y":1}}`, 'a value is not valid JSON'],
  ['one that is never closed', `{"a":{${entry},"x":[[1]}}`, 'a value is not valid JSON'],
  ['one of very much', `{"a":{${entry},"x":"${'x'.repeat(5000)}"}}`, 'a value of 5002 characters, at most 4096'],
  ['metadata that is null in parts', `{"__metadata__":{"k":null},"a":{${entry}}}`, 'expected `"`'],
  ['a word that begins like null', `{"__metadata__":nullify,"a":{${entry}}}`, 'expected `}`'],
])('refused: %s', async (_, header, message) => {
  await expect(readSafetensors(memorySource(file(header, 4)))).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringContaining(message),
  });
});

test('accepted: a pair of surrogates in two escapes', async () => {
  expect((await readSafetensors(memorySource(file('{"__metadata__":{"k":"\\ud83d\\ude00"}}')))).metadata).toEqual({ k: '\u{1f600}' });
});

test.each([
  ['shape', 'shape', 1000],
  ['offsets', 'data_offsets', 2],
])('refused: %s longer than any has', async (_, field, most) => {
  const header = { a: { dtype: 'F32', shape: [], data_offsets: [0, 4], [field]: Array.from({ length: most + 1 }, () => 1) } };
  await expect(readSafetensors(memorySource(file(header, 4)))).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringContaining(`a list of more than ${most} numbers`),
  });
});

test.each([
  [
    'sizes in all',
    3_000_000,
    () => {
      const one = { dtype: 'U8', shape: Array.from({ length: 1000 }, () => 0), data_offsets: [0, 0] };
      return Object.fromEntries(Array.from({ length: 3001 }, (__, each) => [`t${each}`, one]));
    },
  ],
  [
    'entries of metadata',
    100_000,
    () => ({ __metadata__: Object.fromEntries(Array.from({ length: 100_001 }, (__, each) => [`k${each}`, ''])) }),
  ],
])('refused: more %s than any file has', async (_, most, header) => {
  const refused = { code: 'CheckpointLoadError', message: expect.stringContaining(`more than ${most}`) };
  await expect(readSafetensors(memorySource(file(header())))).rejects.toMatchObject(refused);
});
