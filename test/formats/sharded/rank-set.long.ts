/** What all files of a set may hold together. */
import { expect, test } from '@jest/globals';
import { readRankSet } from '../../../src/formats/sharded/rank-set.ts';
import type { ByteSource } from '../../../src/model/byte-source.ts';
import { memorySource } from '../../support/memory-source.ts';
import { file, shard } from '../../support/rank-files.ts';

test('a set of more sizes than a file may have is refused, as they are all held', async () => {
  const names = Array.from({ length: 7 }, (_, index) => shard(index + 1));
  const shape = Array.from({ length: 1000 }, () => 1);
  // Half a million in each file; that the tensors are the same is not looked at any more.
  const bytes = file(Object.fromEntries(Array.from({ length: 500 }, (_, index) => [index, { shape }])));
  const open = async (name: string): Promise<ByteSource> => memorySource(bytes, `file:///x/${name}`);
  await expect(readRankSet(await open(names[0]!), names, open)).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringContaining('more than 3000000 sizes in their shapes together'),
  });
});
