import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { digestTensors } from '../../../src/io/digests/digest-tensors.ts';
import { pin } from '../../../src/model/byte-source.ts';
import type { PlannedTensor } from '../../../src/model/plan.ts';
import { memorySource, noise } from '../../support/memory-source.ts';

// From ten thousand tensors on, a thread digests them, in whatever size they come.
test.each([100, 9_999, 10_000, 25_000])('each of %s tensors has the digest of its bytes', async (count) => {
  const lengths = Array.from({ length: count }, (_, index) => (index % 997 === 5 ? 700_000 : (index * 7) % 131));
  const bytes = noise(800_000, 3);
  const starts = lengths.map((length, index) => (index * 8191) % (bytes.length - length));
  const source = memorySource(bytes);
  const storages = lengths.map((length, index) => ({ file: 0, location: { kind: 'range' as const, offset: starts[index]! }, length }));
  const tensors = lengths.map((length, storage): PlannedTensor => {
    const origin = { dtype: 'U8' as const, shape: [length], storage, offset: 0 };
    return { name: `t${storage}`, dtype: 'U8', shape: [length], origin };
  });
  const digests = await digestTensors({
    tensors,
    plan: { files: [pin(source)], storages },
    open: async () => source,
    signal: new AbortController().signal,
  });
  const expected = lengths.map((length, index) =>
    createHash('sha256')
      .update(bytes.subarray(starts[index], starts[index]! + length))
      .digest('hex'),
  );
  expect(digests).toEqual(expected);
});
