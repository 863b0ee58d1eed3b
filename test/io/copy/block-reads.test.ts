/** Blocks out of archives that are read from afar: what lies side by side is one request, and nothing is believed but what local headers say. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import { copyLayout } from '../../../src/io/copy/copy.ts';
import { pin } from '../../../src/model/byte-source.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { memorySource, noise } from '../../support/memory-source.ts';
import { zip, type Part } from '../../support/zip.ts';

const CONTENT = noise(4_000_000);

interface Member {
  /** Of the tensor: the output has them in this order. */
  readonly name: string;
  readonly bytes: number;
  readonly more?: Omit<Partial<Part>, 'name' | 'data'>;
}

/** Copies the tensors of an archive with these members, each as a whole, in blocks of `block` bytes. */
async function copied(members: readonly Member[], block: number) {
  let at = 0;
  const parts = members.map(({ name, bytes, more }) => ({ name: `a/${name}`, data: CONTENT.subarray(at, (at += bytes)), ...more }));
  const source = memorySource(zip(parts));
  const { members: found } = await readArchive(source);
  const stored = found.map((location) => ({ file: 0, location, length: location.size }));
  const plan: Plan = {
    files: [pin(source)],
    storages: stored,
    tensors: members.map(({ name, bytes: size }, storage) => ({
      name,
      dtype: 'U8',
      shape: [size],
      origin: { dtype: 'U8', shape: [size], storage, offset: 0 },
    })),
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
  const layout = layoutSafetensors(plan);
  const expected = layout.segments.flatMap((segment) => {
    if (segment.kind === 'bytes') return [segment.bytes];
    return segment.kind === 'tensor' ? [parts[segment.index]!.data] : [];
  });
  const bytes = Buffer.alloc(layout.size);
  source.reads.length = 0;
  await copyLayout({
    layout,
    plan,
    open: async () => source,
    memory: Array.from({ length: 3 }, () => new Uint8Array(block)),
    write: async (written, offset) => void bytes.set(written, offset),
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
  return { isSame: bytes.equals(Buffer.concat(expected)), reads: source.reads };
}

const DESCRIPTOR = { descriptor: {} };

test('neighbours in the file are one request for each block, with the local headers that prove where they begin', async () => {
  const members = [
    { name: 'b.weight', bytes: 300_000, more: DESCRIPTOR },
    { name: 'a.bias', bytes: 500, more: DESCRIPTOR },
    { name: 'c.weight', bytes: 150_000, more: DESCRIPTOR },
    { name: 'a.weight', bytes: 200_000, more: DESCRIPTOR },
  ];
  const { isSame, reads } = await copied(members, 500_000);
  expect(isSame).toBe(true);
  // Output: a.bias, a.weight and all but the end of b.weight; then that end, and c.weight, with a.bias between them.
  expect(reads).toHaveLength(3);
});

test('a tensor that is cut into blocks is asked for once for each, and its local header with the first', async () => {
  const { isSame, reads } = await copied([{ name: 'weight', bytes: 1_000_000 }], 300_000);
  expect(isSame).toBe(true);
  expect(reads).toHaveLength(4);
});

test('where members do not begin where they should, their bytes are still right', async () => {
  const members = ['d', 'c', 'b', 'a'].map((name) => ({ name, bytes: 200_000, more: { gap: noise(12, 5) } }));
  const { isSame, reads } = await copied(members, 300_000);
  expect(isSame).toBe(true);
  // What was read at the wrong place and its header are asked for again; after the first time, nothing is guessed.
  expect(reads.length).toBeLessThanOrEqual(16);
});

test('what no local header proves is refused, though its bytes are there', async () => {
  const lies = { local: { name: Buffer.from('a/x') } };
  await expect(copied([{ name: 'b', bytes: 200_000, more: lies }], 300_000)).rejects.toThrow('local header of a/b');
});

test('whatever archives are made of and blocks are cut to, the bytes are right', async () => {
  const more = fc.constantFrom<Member['more'][]>(
    undefined,
    DESCRIPTOR,
    { descriptor: { bare: true } },
    { gap: noise(7, 3) },
    { gap: noise(70_000, 4) },
    { local: { extra: noise(0) } },
    { local: { extra: Buffer.from([0x46, 0x42, 50, 0, ...noise(50, 9)]) } },
    { deflated: true },
  );
  const bytes = fc.oneof(fc.nat({ max: 2000 }), fc.nat({ max: 200_000 }));
  const member = fc.record({ name: fc.stringMatching(/^[a-z]{1,8}$/), bytes, more });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(member, { selector: ({ name }) => name, minLength: 1, maxLength: 15 }),
      fc.integer({ min: 1000, max: 500_000 }),
      async (members, block) => {
        expect((await copied(members as readonly Member[], block)).isSame).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);
