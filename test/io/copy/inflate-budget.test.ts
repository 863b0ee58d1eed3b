/** Deflated storages that many tensors share: read where that is some times their bytes, refused where it is not. */
import { expect, test } from '@jest/globals';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import { copyLayout } from '../../../src/io/copy/copy.ts';
import { inflateBudget } from '../../../src/io/copy/inflate-budget.ts';
import { pin } from '../../../src/model/byte-source.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { memorySource, noise } from '../../support/memory-source.ts';
import { zip } from '../../support/zip.ts';

const MIB = 2 ** 20;

/** Tensors of an archive's storages, in the order of the output: each begins at its place in its storage. */
async function planOf(storages: readonly Uint8Array[], places: readonly (readonly [storage: number, offset: number])[], size: number) {
  const source = memorySource(zip(storages.map((data, index) => ({ name: `a/data/${index}`, data, deflated: true }))));
  const { members } = await readArchive(source);
  const plan: Plan = {
    files: [pin(source)],
    storages: members.map((location) => ({ file: 0, location, length: location.size })),
    tensors: places.map(([storage, offset], index) => ({
      name: String(index).padStart(6, '0'),
      dtype: 'U8',
      shape: [size],
      origin: { dtype: 'U8', shape: [size], storage, offset },
    })),
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
  return { source, plan, layout: layoutSafetensors(plan) };
}

async function copied({ source, plan, layout }: Awaited<ReturnType<typeof planOf>>): Promise<Buffer> {
  const bytes = Buffer.alloc(layout.size);
  await copyLayout({
    layout,
    plan,
    open: async () => source,
    memory: Array.from({ length: 3 }, () => new Uint8Array(MIB)),
    write: async (written, offset) => void bytes.set(written, offset),
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
  return bytes;
}

test('a tensor for every few bytes of a large storage, from its end to its start, is refused', async () => {
  const places = Array.from({ length: 300 }, (_, index) => [0, 20 * MIB - 2 * (index + 1)] as const);
  await expect(copied(await planOf([new Uint8Array(20 * MIB)], places, 2))).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringContaining('save it again with torch.save'),
  });
});

test('tensors that take turns between storages are read with few requests', async () => {
  const storages = [noise(3 * MIB, 1), noise(3 * MIB, 2), noise(3 * MIB, 3)];
  const size = 10_000;
  const places = Array.from({ length: 900 }, (_, index) => [index % 3, Math.floor(index / 3) * size] as const);
  const planned = await planOf(storages, places, size);
  planned.source.reads.length = 0;
  const bytes = await copied(planned);
  const expected = Buffer.concat(places.map(([storage, offset]) => storages[storage]!.subarray(offset, offset + size)));
  expect(bytes.subarray(bytes.length - expected.length).equals(expected)).toBe(true);
  expect(planned.source.reads.length).toBeLessThan(60);
});

test('a storage may be inflated some times, and small ones whatever the times', async () => {
  const { plan, layout } = await planOf([new Uint8Array(10)], [[0, 0]], 10);
  const large: Plan = { ...plan, storages: plan.storages.map((storage) => ({ ...storage, length: 2 ** 40 })) };
  const spend = inflateBudget(layout, large);
  for (let times = 0; times < 16; times++) spend(2 ** 40);
  expect(() => spend(2 ** 40)).toThrow('would inflate more than');
  const spendSmall = inflateBudget(layout, plan);
  spendSmall(2 ** 31);
  expect(() => spendSmall(2 ** 31)).toThrow('would inflate more than');
});
