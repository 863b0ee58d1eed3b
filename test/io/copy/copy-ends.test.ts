/** The digest of an output is that of its bytes, wherever empty tensors stand: at its end, behind a whole block, alone. */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { BLOCK } from '../../../src/io/copy/blocks.ts';
import { openLocalFile, openPinned } from '../../../src/io/local/local-file.ts';
import { publishLocal } from '../../../src/io/publish/publish-local.ts';
import { pin } from '../../../src/model/byte-source.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { noise } from '../../support/memory-source.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-ends-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function planOf(sizes: readonly number[]): Promise<Plan> {
  const path = join(folder, 'source.bin');
  const total = sizes.reduce((sum, size) => sum + size, 0);
  await writeFile(path, noise(Math.max(1, total)));
  const file = await openLocalFile(path);
  const tensors = sizes.map((size, index) => ({
    name: `t${index}`,
    dtype: 'U8' as const,
    shape: [size],
    origin: { dtype: 'U8' as const, shape: [size], storage: 0, offset: sizes.slice(0, index).reduce((sum, each) => sum + each, 0) },
  }));
  await file.close();
  const storages = [{ file: 0, location: { kind: 'range' as const, offset: 0 }, length: total }];
  return { files: [pin(file)], storages, tensors, frozen: [], skipped: [], dropped: [], metadata: {} };
}

/** Of the header of two tensors: with it an output ends where a block does. */
const HEADER = 8 + 136;

test.each([
  ['the last one', [12, 0]],
  ['the last three', [12, 0, 0, 0]],
  ['all', [0, 0]],
  ['one in the middle', [12, 0, 7]],
  ['the last one, behind whole blocks', [3 * BLOCK - HEADER, 0]],
])('empty: %s', async (_, sizes) => {
  const plan = await planOf(sizes);
  const layout = layoutSafetensors(plan);
  const path = join(folder, 'out.safetensors');
  const { sha256, tensors } = await publishLocal({
    uri: path,
    layout,
    plan,
    open: openPinned,
    token: 'token',
    content: sizes.join(),
    overwrite: 'always',
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
  const bytes = await readFile(path);
  if (sizes[0]! > BLOCK) expect(layout.size % BLOCK).toBe(0);
  expect({ sha256, size: bytes.length }).toEqual({ sha256: createHash('sha256').update(bytes).digest('hex'), size: layout.size });
  let offset = layout.size - sizes.reduce((sum, size) => sum + size, 0);
  for (const [index, size] of sizes.entries())
    expect(tensors[index]).toBe(
      createHash('sha256')
        .update(bytes.subarray(offset, (offset += size)))
        .digest('hex'),
    );
});
