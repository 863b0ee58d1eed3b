/** Archives that disagree with themselves, one field at a time. */
import { describe, expect, test } from '@jest/globals';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import { dataOffset } from '../../../src/formats/zip/local-header.ts';
import { readMember } from '../../../src/formats/zip/member.ts';
import type { Finding } from '../../../src/model/header.ts';
import { memorySource } from '../../support/memory-source.ts';
import { extra, zip, type Part, type Records } from '../../support/zip.ts';

const data = Buffer.from('0123456789');
const plain: Part = { name: 'archive/data.pkl', data };
const later: Part = { ...plain, descriptor: {} };

async function readAll(bytes: Uint8Array): Promise<{ members: Record<string, string>; findings: readonly Finding[] }> {
  const source = memorySource(bytes);
  const { members, findings } = await readArchive(source);
  const read: [string, string][] = [];
  for (const member of members) read.push([member.name, Buffer.from(await readMember(source, member, 1000)).toString()]);
  return { members: Object.fromEntries(read), findings };
}

describe('read', () => {
  const good: readonly (readonly [string, readonly Part[], Records?])[] = [
    ['stored', [plain]],
    ['deflated', [{ ...plain, deflated: true }]],
    ['with a data descriptor', [later]],
    ['with a data descriptor that has no signature', [{ ...plain, descriptor: { bare: true } }]],
    ['with padding in the local extra field', [{ ...plain, local: { extra: extra(0x4246, 0n, 0n) } }]],
    [
      'sizes in a zip64 field of both headers',
      [
        {
          ...plain,
          local: { size: 0xffffffff, compressed: 0xffffffff, extra: extra(1, 10n, 10n) },
          central: { size: 0xffffffff, compressed: 0xffffffff, extra: extra(1, 10n, 10n) },
        },
      ],
    ],
    ['zip64 records that are not needed', [plain], { zip64: {} }],
    ['zip64 records with a saturated disk number', [plain], { zip64: {}, disk: 0xffff, directoryDisk: 0xffff }],
  ];
  test.each(good.map(([title, parts, records]) => ({ title, parts, records })))('$title', async ({ parts, records }) => {
    expect((await readAll(zip(parts, records))).members).toEqual({ 'archive/data.pkl': data.toString() });
  });

  test('a CRC-32 of 0, and reported', async () => {
    const { findings } = await readAll(zip([{ ...plain, crc: 0 }]));
    expect(findings).toEqual([expect.objectContaining({ code: 'crc_not_computed', member: 'archive/data.pkl' })]);
  });

  test('bytes that belong to no member are reported', async () => {
    const { findings } = await readAll(zip([{ ...plain, gap: Buffer.alloc(70_000) }]));
    expect(findings).toEqual([expect.objectContaining({ code: 'archive_gap' })]);
  });
});

describe('refused, with both values', () => {
  const bad: readonly (readonly [string, readonly Part[], Records, RegExp])[] = [
    [
      'a local name that only lenient decoding makes equal',
      [{ ...plain, name: 'archive/\ufffd', local: { name: Buffer.from('archive/\xff', 'latin1') }, gap: Buffer.alloc(2) }],
      {},
      /6172.*2fff\), the directory's/,
    ],
    ['a local CRC-32 of 0xffffffff', [{ ...plain, local: { crc: 0xffffffff } }], {}, /CRC-32 is 4294967295, the directory says/],
    ['a local size of 0xffffffff without a zip64 field', [{ ...plain, local: { size: 0xffffffff } }], {}, /size is 4294967295.*says 10/],
    [
      'a zip64 field with another size',
      [{ ...plain, local: { size: 0xffffffff, compressed: 0xffffffff, extra: extra(1, 11n, 10n) } }],
      {},
      /size is 11, the directory says 10/,
    ],
    [
      'another CRC-32 in the data descriptor',
      [{ ...plain, descriptor: { crc: 7 } }],
      {},
      /data descriptor says CRC-32 7, the directory \d+/,
    ],
    ['another size in the data descriptor', [{ ...plain, descriptor: { size: 11 } }], {}, /data descriptor says size 11, the directory 10/],
    ['a local size beside a data descriptor that differs', [{ ...later, local: { size: 9 } }], {}, /size is 9, the directory says 10/],
    ['other local flags', [{ ...plain, local: { flags: 0 } }], {}, /flags are 0x0000, the directory's 0x0800/],
    ['encryption in the local header only', [{ ...plain, local: { flags: 0x801 } }], {}, /0x0801.*0x0800/],
    [
      'a local extra field that pushes the data into the next member',
      [
        { ...plain, local: { extraLength: 40 } },
        { name: 'archive/b', data },
      ],
      {},
      /run into what begins at 56/,
    ],
    [
      'a local extra field that pushes the data into the directory',
      [{ ...plain, local: { extraLength: 5 } }],
      {},
      /run into what begins at 56/,
    ],
    [
      'a data descriptor that would lie in the next member',
      [
        { ...plain, flags: 0x808 },
        { name: 'archive/b', data },
      ],
      {},
      /data descriptor run into what begins at 56/,
    ],
    ['bytes behind the deflate stream', [{ ...plain, deflated: true, junk: Buffer.from('junk') }], {}, /ends after \d+ of \d+ bytes/],
    ['two zip64 fields', [{ ...plain, central: { extra: Buffer.concat([extra(1, 10n), extra(1, 11n)]) } }], {}, /two extra fields 0x0001/],
    [
      'two zip64 fields in the local header',
      [{ ...plain, local: { extra: Buffer.concat([extra(1, 10n), extra(1, 11n)]) } }],
      {},
      /two extra/,
    ],
    ['a Unicode path with another name', [{ ...plain, central: { extra: extra(0x7075, 0n) } }], {}, /Unicode path field says/],
    ['a Unicode path with another name in the local header', [{ ...plain, local: { extra: extra(0x7075, 0n) } }], {}, /Unicode path field/],
    [
      'the attribute of a folder on a member with bytes',
      [{ ...plain, central: { attributes: 0x10 } }],
      {},
      /is a folder, and has 10 bytes/,
    ],
    ["a folder's name on a member with bytes", [{ ...plain, name: 'archive/data/' }], {}, /is a folder, and has 10 bytes/],
    [
      'an end record in the comment, whatever it says of its own',
      [plain],
      { comment: Buffer.concat([zip([{ ...plain, data: Buffer.from('other') }]).subarray(-22, -2), Buffer.from([7, 0])]) },
      /its comment, from \d+ on, holds another end of central directory record/,
    ],
    ['disk 1', [plain], { disk: 1 }, /number of this disk is 1, expected 0/],
    ['disk 0xffff without zip64', [plain], { disk: 0xffff }, /number of this disk is 65535, expected 0/],
    ['directory disk 0xffff without zip64', [plain], { directoryDisk: 0xffff }, /directory is 65535, expected 0/],
    ['disk 1 in the zip64 record', [plain], { zip64: { disk: 1 } }, /number of this disk is 1, expected 0/],
    ['directory disk 1 in the zip64 record', [plain], { zip64: { directoryDisk: 1 } }, /directory is 1, expected 0/],
    ['disk 1 in the zip64 locator', [plain], { zip64: { locatorDisk: 1 } }, /locator says disk 1/],
    ['two disks in the zip64 locator', [plain], { zip64: { disks: 2 } }, /counts 2 disks, expected 1/],
  ];
  const rewritten = 'torch.save(torch.load(path, weights_only=True), new_path) writes it without them';
  test.each([
    ['a byte behind its end', 1, /it is truncated, or 1 byte stands behind its end at \d+\. Copy it again; /],
    ['bytes behind its end', 1000, /it is truncated, or 1000 bytes stand behind its end at \d+\. Copy it again; /],
  ])('%s: what helps is said for either cause', async (_, count, message) => {
    const read = readAll(Buffer.concat([zip([plain]), Buffer.alloc(count)]));
    await expect(read).rejects.toThrow(expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringMatching(message) }));
    await expect(read).rejects.toThrow(rewritten);
  });

  test.each([
    ['cut off', zip([plain]).subarray(0, -1)],
    ['cut off in its comment', zip([plain], { comment: Buffer.from('comment') }).subarray(0, -3)],
    ['with more behind it than torch looks through', Buffer.concat([zip([plain]), Buffer.alloc(70_000)])],
  ])('%s: only a copy helps', async (_, bytes) => {
    await expect(readAll(bytes)).rejects.toThrow('at its end: it is truncated. Copy it again.');
  });

  test.each(bad)('%s', async (_, parts, records, message) => {
    await expect(readAll(zip(parts, records))).rejects.toThrow(
      expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringMatching(message) }),
    );
  });

  test.each([
    ['the same name', 'archive/data.pkl'],
    ['a name equal but for case', 'archive/DATA.pkl'],
    ['a name equal after full case folding', 'archive/data.p\u212al'],
    ['a name whose lower case is its own', 'archive/data.p\u212aL'],
  ])('%s twice', async (_, name) => {
    await expect(readArchive(memorySource(zip([plain, { name, data }])))).rejects.toThrow(/two members that readers take for one name/);
  });
});

test('the offset of data lies behind the local extra field, and within the room', async () => {
  const source = memorySource(
    zip([
      { ...plain, local: { extra: extra(0x4246, 0n) } },
      { name: 'archive/b', data },
    ]),
  );
  const { members } = await readArchive(source);
  expect(await dataOffset(source, members[0]!)).toBe(30 + plain.name.length + 12);
  expect(members.map(({ end }) => end)).toEqual([members[1]!.header, members[1]!.header + 30 + 'archive/b'.length + 10]);
});
