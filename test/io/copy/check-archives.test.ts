/** From the side of who wants one reader to find other bytes than another. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ordered, writePickle } from '../../../bench/inputs/pickle.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { checkArchives } from '../../../src/io/copy/check-archives.ts';
import { openLocalFile, openPinned } from '../../../src/io/local/local-file.ts';
import { fixture } from '../../support/project.ts';
import { zip, type Part } from '../../support/zip.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-descriptors-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tensor = (key: string) => ({ kind: 'tensor', key, storage: 'FloatStorage', shape: [4] }) as const;

async function check(path: string): Promise<void> {
  const source = await openLocalFile(path);
  const header = await readHeader(source).finally(() => source.close());
  await checkArchives(header, openPinned, new Set());
}

async function checkWith(second: Pick<Part, 'descriptor' | 'deflated'>): Promise<void> {
  const path = join(folder, 'model.pt');
  const root = ordered(
    new Map([
      ['a', tensor('0')],
      ['b', tensor('1')],
    ] as const),
  );
  const parts: Part[] = [
    { name: 'm/data.pkl', data: writePickle(root) },
    { name: 'm/data/0', data: Buffer.alloc(16, 1), descriptor: {} },
    { name: 'm/data/1', data: Buffer.alloc(16, 2), ...second },
  ];
  await writeFile(path, zip(parts));
  await check(path);
}

test.each<[string, Pick<Part, 'descriptor' | 'deflated'>]>([
  ['none', {}],
  ['a true one', { descriptor: {} }],
  ['one without signature', { descriptor: { bare: true } }],
  ['one behind deflated bytes', { descriptor: {}, deflated: true }],
])('%s is let through', async (_, second) => checkWith(second));

test.each<[string, Pick<Part, 'descriptor' | 'deflated'>]>([
  ['the sum', { descriptor: { crc: 1 } }],
  ['the size', { descriptor: { size: 8 } }],
  ['the sum, without signature', { descriptor: { crc: 1, bare: true } }],
  ['the size of deflated bytes', { descriptor: { size: 8 }, deflated: true }],
])('one that lies about %s is refused, and named', async (_, second) => {
  await expect(checkWith(second)).rejects.toMatchObject({
    code: 'CheckpointLoadError',
    message: expect.stringMatching(/member m\/data\/1: its data descriptor says/) as unknown,
  });
});

test.each(['good/lightning_trained.ckpt', 'good/state_dict.pt'])("torch's own are true: %s", async (name) => check(fixture(name)));

describe('bytes of a member that is damaged', () => {
  /** One tensor of two storages, and members that no tensor is read from; `member` has a byte that is not what was archived. */
  async function damaged(member: string, { deflated = false, crc }: { readonly deflated?: boolean; readonly crc?: number } = {}) {
    const path = join(folder, 'damaged.pt');
    const content = new Map([
      ['m/data.pkl', Buffer.from(writePickle(ordered(new Map([['a', tensor('0')]] as const))))],
      ['m/data/0', Buffer.alloc(16, 1)],
      ['m/data/1', Buffer.alloc(700_000, 2)],
      ['m/extra/notes', Buffer.alloc(300_000, 3)],
    ]);
    const file = zip([...content].map(([name, data]) => ({ name, data, deflated: name === member && deflated })));
    const at = file.indexOf(Buffer.from(member)) + Buffer.byteLength(member);
    // A bit of its sum, in local header and directory, is as good as one of its bytes, whether it is deflated or not.
    if (crc !== undefined || deflated) {
      const local = file.indexOf(Buffer.from(member)) - 30 + 14;
      const central = file.lastIndexOf(Buffer.from(member)) - 46 + 16;
      for (const place of [local, central]) file.writeUInt32LE(crc ?? 1, place);
    } else file[at + content.get(member)!.length - 1]! ^= 1;
    await writeFile(path, file);
    const source = await openLocalFile(path);
    const header = await readHeader(source).finally(() => source.close());
    return (compared: readonly number[]) => checkArchives(header, openPinned, new Set(compared));
  }

  test.each([
    ['m/data/1', {}],
    ['m/extra/notes', {}],
    ['m/extra/notes', { deflated: true }],
  ])('%s, which no tensor is read from, is found (%j)', async (member, how) => {
    await expect((await damaged(member, how))([0])).rejects.toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringMatching(new RegExp(`member ${member}: its CRC-32 is .*: the bytes are damaged`)),
    });
  });

  test('that was read with its tensors is not read again; one without a sum cannot be told', async () => {
    const first = await damaged('m/data/0');
    await first([0]);
    await expect(first([])).rejects.toThrow('member m/data/0: its CRC-32');
    await (
      await damaged('m/extra/notes', { crc: 0 })
    )([0]);
  });
});
