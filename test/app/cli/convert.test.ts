/** What a line of `ckpt convert` stands for. */
import { expect, test } from '@jest/globals';
import { documentOf } from '../../../src/app/cli/commands/convert.ts';

const formatOf = (to: string, format?: 'safetensors'): unknown =>
  documentOf('a.ckpt', to, format === undefined ? {} : { format }).stages.at(-1)!['format'];

test.each([
  ['out.safetensors', 'safetensors'],
  ['weights', 'safetensors'],
  ['model-1.5', 'safetensors'],
  ['.hidden', 'safetensors'],
  ['s3://bucket.of.ours/weights', 'safetensors'],
  ['out.PT', 'pytorch'],
  ['out.bin', 'state_dict'],
])('%s is %s by its name', (to, format) => {
  expect(formatOf(to)).toBe(format);
});

test.each(['out.onnx', 's3://b/out.h5', 'dir.pt/out.gguf', 'last.ckpt.bak'])(
  '%s is not a name for what is written, unless the format is said',
  (to) => {
    expect(() => formatOf(to)).toThrow('or say what to write all the same: `--format`');
    expect(formatOf(to, 'safetensors')).toBe('safetensors');
  },
);

test('a name that is nearly one', () => {
  expect(() => formatOf('out.safetensor')).toThrow(
    'nothing that is written here has a name with `.safetensor`. Did you mean `.safetensors`?',
  );
  expect(() => formatOf('out.cpkt')).toThrow('Did you mean `.ckpt`');
  for (const other of ['out/llama.v2', 'out.h5', 'out.bak']) expect(() => formatOf(other)).not.toThrow('Did you mean');
});
