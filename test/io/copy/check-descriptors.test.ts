/** From the side of who wants one reader to find other bytes than another. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ordered, writePickle } from '../../../bench/inputs/pickle.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { checkDescriptors } from '../../../src/io/copy/check-descriptors.ts';
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
  await checkDescriptors(header, openPinned);
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
