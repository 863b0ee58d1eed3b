import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { CHECKSUM_ALGORITHMS, checksumOf, verifyChecksum, type ChecksumOptions } from '../../src/io/checksum.ts';
import { memorySource, noise } from '../support/memory-source.ts';

const MIB = 2 ** 20;
const CONTENT = noise(9 * MIB + 5);
const EXPECTED = createHash('sha256').update(CONTENT).digest('hex');

function options(more: Partial<ChecksumOptions> = {}): ChecksumOptions {
  return {
    source: memorySource(CONTENT, 'memory:///a'),
    expected: { algorithm: 'sha256', digest: EXPECTED },
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
  await verifyChecksum(
    options({ source: memorySource(new Uint8Array(0)), expected: { algorithm: 'sha256', digest: createHash('sha256').digest('hex') } }),
  );
});

test("the store's own digest spares the read", async () => {
  const source = memorySource(CONTENT);
  await verifyChecksum(options({ source, known: EXPECTED }));
  expect(source.asked.requests).toBe(0);
});

test('another file is refused with both digests', async () => {
  const digest = 'ab'.repeat(32);
  await expect(verifyChecksum(options({ expected: { algorithm: 'sha256', digest } }))).rejects.toMatchObject({
    code: 'CheckpointValidationError',
    details: { algorithm: 'sha256', expected: digest, actual: EXPECTED },
  });
});

test.each(CHECKSUM_ALGORITHMS)('%s, by its name and whatever the case', async (algorithm) => {
  const digest = createHash(algorithm).update(CONTENT).digest('hex');
  const expected = checksumOf(`${algorithm.toUpperCase()}:${digest.toUpperCase()}`);
  expect(expected).toEqual({ algorithm, digest });
  // What a store says of SHA-256 decides no other.
  await verifyChecksum(options({ expected: expected!, known: algorithm === 'sha256' ? null : 'other' }));
});

test.each(['', 'abc', `md4:${'0'.repeat(32)}`, `sha512:${'0'.repeat(64)}`, `${'0'.repeat(63)}g`, 'constructor:00'])(
  '%j is no checksum',
  (text) => {
    expect(checksumOf(text)).toBeUndefined();
  },
);

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
