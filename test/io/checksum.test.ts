import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { verifyChecksum, type ChecksumOptions } from '../../src/io/checksum.ts';
import { memorySource, noise } from '../support/memory-source.ts';

const MIB = 2 ** 20;
const CONTENT = noise(9 * MIB + 5);
const EXPECTED = createHash('sha256').update(CONTENT).digest('hex');

function options(more: Partial<ChecksumOptions> = {}): ChecksumOptions {
  return {
    source: memorySource(CONTENT, 'memory:///a'),
    expected: EXPECTED,
    known: null,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...more,
  };
}

test('one read of all of it, with progress', async () => {
  const progress: number[] = [];
  await verifyChecksum(options({ onProgress: (offset) => progress.push(offset) }));
  expect(progress).toEqual([4 * MIB, 8 * MIB, CONTENT.length]);
  await verifyChecksum(options({ source: memorySource(new Uint8Array(0)), expected: createHash('sha256').digest('hex') }));
});

test("the store's own digest spares the read", async () => {
  const source = memorySource(CONTENT);
  await verifyChecksum(options({ source, known: EXPECTED }));
  expect(source.asked.requests).toBe(0);
});

test('another file is refused with both digests', async () => {
  const expected = 'ab'.repeat(32);
  await expect(verifyChecksum(options({ expected }))).rejects.toMatchObject({
    code: 'CheckpointValidationError',
    details: { algorithm: 'sha256', expected, actual: EXPECTED },
  });
});

test('a retry in the same process goes on where the first one stopped, of the same version only', async () => {
  const failing = (uri: string) => {
    const source = memorySource(CONTENT, uri);
    let reads = 0;
    return {
      ...source,
      readInto: async (offset: number, target: Uint8Array) => {
        if (++reads === 3) throw new Error('away');
        await source.readInto(offset, target);
      },
    };
  };
  await expect(verifyChecksum(options({ source: failing('memory:///b') }))).rejects.toThrow('away');
  const second = memorySource(CONTENT, 'memory:///b');
  await verifyChecksum(options({ source: second }));
  expect(second.asked.bytes).toBe(CONTENT.length - 8 * MIB);
  await expect(verifyChecksum(options({ source: failing('memory:///b') }))).rejects.toThrow('away');
  const other = { ...memorySource(CONTENT, 'memory:///b'), identity: 'another version' };
  await verifyChecksum(options({ source: other }));
  expect(other.asked.bytes).toBe(CONTENT.length);
});
