/** Archives beyond what 32 bits hold: laid out and read back without their gigabytes ever being there. */
import { describe, expect, test } from '@jest/globals';
import jszip from 'jszip';
import { segmentLength, type Segment } from '../../../src/formats/layout.ts';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import { dataOffset } from '../../../src/formats/zip/local-header.ts';
import { layoutZip, type ZipMember } from '../../../src/formats/zip/write.ts';
import type { ByteSource } from '../../../src/model/byte-source.ts';

const SUM = 0x12345678;

/** The segments as a source; tensors read as zeros. */
function sourceOf(segments: readonly Segment[], size: number): ByteSource {
  let at = 0;
  const placed = segments.map((segment) => {
    const start = at;
    at += segmentLength(segment);
    return { start, end: at, segment };
  });
  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    target.fill(0);
    for (const { start, end, segment } of placed) {
      if (segment.kind === 'tensor' || end <= offset || start >= offset + target.length) continue;
      const bytes = segment.kind === 'bytes' ? segment.bytes : segment.bytes(() => SUM);
      const from = Math.max(offset, start);
      target.set(bytes.subarray(from - start, Math.min(end, offset + target.length) - start), from - offset);
    }
  };
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(length);
    await readInto(offset, bytes);
    return bytes;
  };
  return { uri: 'memory:///zip', size, identity: '', read, readInto, close: async () => undefined };
}

const tensor = (name: string, index: number, length: number): ZipMember => ({ name, content: { kind: 'tensor', index, length } });
const GB = 1e9;

describe('zip64', () => {
  test.each<readonly [string, readonly number[]]>([
    ['a member of exactly 2^32 − 2 bytes', [2 ** 32 - 2]],
    ['a member of exactly 2^32 − 1 bytes', [2 ** 32 - 1]],
    ['one beyond 4 GiB, small ones behind it', [5 * GB, 4, 0, 7]],
    ['many that pass 4 GiB together', Array<number>(9).fill(GB)],
    ['a terabyte', [3, 1000 * GB, 1000 * GB, 1]],
  ])('%s', async (_, lengths) => {
    const members = lengths.map((length, index) => tensor(`archive/data/${index}`, index, length));
    const { segments, size } = layoutZip(members, 64);
    expect(segments.reduce((sum, segment) => sum + segmentLength(segment), 0)).toBe(size);
    const source = sourceOf(segments, size);
    const archive = await readArchive(source);
    expect(archive.members.map((member) => [member.name, member.size, member.crc32])).toEqual(
      members.map(({ name }, index) => [name, lengths[index], lengths[index] === 0 ? 0 : SUM]),
    );
    for (const member of archive.members) expect((await dataOffset(source, member)) % 64).toBe(0);
  });

  test('70,000 members, read by jszip', async () => {
    const members = Array.from({ length: 70_000 }, (_, index): ZipMember => ({
      name: `m/${index}`,
      content: { kind: 'bytes', bytes: Buffer.from([index & 255]) },
    }));
    const { segments, size } = layoutZip(members, 64);
    const bytes = Buffer.concat(
      segments.map((segment) =>
        segment.kind === 'bytes' ? segment.bytes : segment.kind === 'late' ? segment.bytes(() => 0) : Buffer.alloc(0),
      ),
    );
    expect(bytes.length).toBe(size);
    const zip = await jszip.loadAsync(bytes);
    expect(Object.keys(zip.files).length).toBe(70_000);
    expect((await zip.file('m/69999')!.async('nodebuffer'))[0]).toBe(69_999 & 255);
  });
});
