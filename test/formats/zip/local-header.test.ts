/** A local header in memory is judged as one that is read: whatever stands there, both say the same. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { dataOffset, heldDataOffset } from '../../../src/formats/zip/local-header.ts';
import type { ArchiveMember } from '../../../src/model/header.ts';
import { memorySource } from '../../support/memory-source.ts';

const DATA = 64;

/** A member with a local header as torch writes it, padded to 64 bytes: sums and sizes in it, or in a descriptor behind the data. */
function archive(name: string, where: 'header' | 'descriptor' = 'header'): { readonly member: ArchiveMember; readonly bytes: Buffer } {
  const raw = Buffer.from(name);
  const header = Buffer.alloc(30);
  const descriptor = Buffer.alloc(where === 'descriptor' ? 16 : 0);
  const flags = where === 'descriptor' ? 0x808 : 0;
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(flags, 6);
  if (where === 'header') {
    header.writeUInt32LE(0xcafe, 14);
    header.writeUInt32LE(DATA, 18);
    header.writeUInt32LE(DATA, 22);
  }
  header.writeUInt16LE(raw.length, 26);
  const padding = Buffer.alloc(34 + 64 - raw.length, 'Z');
  padding.write('FB', 0, 'latin1');
  padding.writeUInt16LE(padding.length - 4, 2);
  header.writeUInt16LE(padding.length, 28);
  const bytes = Buffer.concat([header, raw, padding, Buffer.alloc(DATA, 1), descriptor]);
  return {
    bytes,
    member: { kind: 'member', name, method: 'stored', flags, crc32: 0xcafe, stored: DATA, size: DATA, header: 0, end: bytes.length },
  };
}

async function said(act: () => number | undefined | Promise<number>): Promise<unknown> {
  try {
    return await act();
  } catch (error) {
    return (error as Error).message;
  }
}

test('whatever stands there, both ways say the same', async () => {
  const change = fc.tuple(fc.nat({ max: 127 }), fc.nat({ max: 255 }));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('a/data/0', 'a/data/é', 'a/data/\u00e9\u0301'),
      fc.constantFrom('header' as const, 'descriptor' as const),
      fc.array(change, { maxLength: 3 }),
      fc.nat({ max: 20 }),
      fc.nat({ max: 70 }),
      async (name, where, changes, less, at) => {
        const { member: whole, bytes } = archive(name, where);
        const member = { ...whole, end: whole.end - less };
        for (const [at, value] of changes) bytes[at] = value;
        const { uri } = memorySource(bytes);
        const held = Buffer.concat([Buffer.alloc(at, 'PK'), bytes]);
        expect(await said(() => heldDataOffset(uri, member, held, at))).toEqual(await said(() => dataOffset(memorySource(bytes), member)));
      },
    ),
    { numRuns: 1000 },
  );
});

test('a name of other bytes that look the same in latin-1 is another name', async () => {
  const { bytes } = archive('a/data/\u00c3\u00a9');
  const { member } = archive('a/data/\u00e9');
  const latin = Buffer.from('a/data/\u00e9', 'latin1');
  latin.copy(bytes, 30);
  bytes.writeUInt16LE(latin.length, 26);
  expect(await said(() => heldDataOffset('file:///x', { ...member, end: bytes.length }, bytes, 0))).toContain('its name is');
});

test('what does not reach the data is not judged', () => {
  const { member, bytes } = archive('a/data/0');
  expect(heldDataOffset('file:///x', member, bytes.subarray(0, 29), 0)).toBeUndefined();
  expect(heldDataOffset('file:///x', member, bytes.subarray(0, 100), 0)).toBeUndefined();
  expect(heldDataOffset('file:///x', member, bytes, 0)).toBe(128);
});
