/** Which file of a folder stands for it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { checkpointFile } from '../../src/io/siblings.ts';
import { createStorage } from '../../src/io/storage/storage.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-siblings-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function chosen(...names: readonly string[]): Promise<string> {
  for (const name of names) await writeFile(join(folder, name), '');
  return basename(await checkpointFile(folder, createStorage()));
}

test.each([
  ['model.safetensors', ['config.json', 'model.safetensors', 'optimizer.pt', 'training_args.bin']],
  ['pytorch_model.bin', ['pytorch_model.bin', 'scheduler.pt']],
  ['model.safetensors', ['model.safetensors', 'pytorch_model.bin']],
  ['adapter_model.safetensors', ['adapter_model.bin', 'adapter_model.safetensors', 'README.md']],
  ['diffusion_pytorch_model.safetensors', ['config.json', 'diffusion_pytorch_model.safetensors']],
  ['model.safetensors.index.json', ['model.safetensors.index.json', 'model.safetensors', 'model-00001-of-00002.safetensors']],
  ['.metadata', ['.metadata', '__0_0.distcp']],
])('%s of %j', async (expected, names) => {
  expect(await chosen(...names)).toBe(expected);
});

test.each([
  [['adapter_model.bin', 'model.safetensors'], 'CheckpointConfigError', 'several checkpoints: adapter_model.bin, model.safetensors'],
  [['.metadata', 'a.safetensors.index.json'], 'CheckpointConfigError', 'several checkpoints'],
  [['b.pt', 'a.ckpt', 'notes.txt'], 'CheckpointLoadError', 'name a checkpoint file in it such as a.ckpt, b.pt.'],
  [['notes.txt'], 'CheckpointLoadError', 'name a checkpoint file in it.'],
])('%j: %s', async (names, code, message) => {
  await expect(chosen(...names)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
});
