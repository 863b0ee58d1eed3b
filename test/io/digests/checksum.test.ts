import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import {
  CHECKSUM_ALGORITHMS,
  checksumOf,
  verifyChecksum,
  type Checksum,
  type ChecksumOptions,
  type ChecksumProgress,
} from '../../../src/io/digests/checksum.ts';
import type { ByteSource } from '../../../src/model/byte-source.ts';
import { memorySource, noise } from '../../support/memory-source.ts';

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
  await verifyChecksum(options({ onProgress: ({ offset }) => progress.push(offset) }));
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
  '%j is not a checksum',
  (text) => {
    expect(checksumOf(text)).toBeUndefined();
  },
);

/** Its last read fails. */
function failing(source: ReturnType<typeof memorySource>): ByteSource {
  return {
    ...source,
    readInto: async (offset, target) => {
      if (offset + target.length === source.size) throw new Error('away');
      await source.readInto(offset, target);
    },
  };
}

describe('over a network', () => {
  const content = CONTENT.subarray(0, 4 * MIB + 5);
  const attempt = async (
    algorithm: Checksum['algorithm'],
    source: ByteSource,
    resume?: ChecksumOptions['resume'],
  ): Promise<ChecksumProgress> => {
    let last: ChecksumProgress = { offset: 0 };
    const expected = { algorithm, digest: createHash(algorithm).update(content).digest('hex') };
    await verifyChecksum(options({ source, expected, resume, onProgress: (progress) => (last = progress) })).catch((error: Error) => {
      if (error.message !== 'away') throw error;
    });
    return last;
  };
  const there = () => memorySource(content, 's3://bucket/key');

  test.each(CHECKSUM_ALGORITHMS)('another worker goes on from what was said last: %s', async (algorithm) => {
    const said = JSON.parse(JSON.stringify(await attempt(algorithm, failing(there())))) as ChecksumProgress;
    expect(said.offset).toBe(4 * MIB);
    const second = there();
    expect(await attempt(algorithm, second, said)).toMatchObject({ offset: content.length });
    expect(second.asked.bytes).toBe(5);
  });

  test.each<[string, (said: ChecksumProgress) => NonNullable<ChecksumOptions['resume']>]>([
    ['of another version', (said) => ({ ...said, of: `${said.of} ` })],
    ['of another algorithm', (said) => ({ ...said, of: said.of?.replace('sha256', 'sha224') })],
    ['of no hash', (said) => ({ ...said, state: 'AAAA' })],
    ['of a place behind the end', (said) => ({ ...said, offset: content.length + 1 })],
    ['of a place before the start', (said) => ({ ...said, offset: -1 })],
    ['of none', () => ({ offset: 'x', state: 1 })],
  ])('a state %s is not gone on from', async (_, harm) => {
    const said = await attempt('sha256', failing(there()));
    const second = there();
    expect(await attempt('sha256', second, harm(said))).toMatchObject({ offset: content.length });
    expect(second.asked.bytes).toBe(content.length);
  });
});

test('a retry in the same process goes on where the first one stopped, of the same version only', async () => {
  await expect(verifyChecksum(options({ source: failing(memorySource(CONTENT, 'file:///b')) }))).rejects.toThrow('away');
  const second = memorySource(CONTENT, 'file:///b');
  await verifyChecksum(options({ source: second }));
  expect(second.asked.bytes).toBe(CONTENT.length - 8 * MIB);
  await expect(verifyChecksum(options({ source: failing(memorySource(CONTENT, 'file:///b')) }))).rejects.toThrow('away');
  const other = { ...memorySource(CONTENT, 'file:///b'), identity: 'another version' };
  await verifyChecksum(options({ source: other }));
  expect(other.asked.bytes).toBe(CONTENT.length);
});
