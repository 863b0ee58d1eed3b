import { mkdtemp, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { openOutput, type OutputFile } from '../../../src/io/publish/output-file.ts';
import { noise } from '../../support/memory-source.ts';

const BLOCK = 64 * 1024;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-output-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Memory that begins at a page, as disks want it, and so many bytes behind it, as they do not. */
const memory = {
  'aligned memory': (length: number) => new Uint8Array(new SharedArrayBuffer(BLOCK, { maxByteLength: BLOCK }), 0, length),
  'any memory': (length: number) => new Uint8Array(length + 1).subarray(1),
};

async function whole(name: string, exists: boolean, size: number, fill: (file: OutputFile) => Promise<void>): Promise<Buffer> {
  const file = await openOutput(join(folder, name), { exists, size });
  await fill(file).finally(() => file.close());
  return readFile(join(folder, name));
}

test.each(Object.entries(memory))('blocks in any order, a part of one last: %s', async (kind, allocate) => {
  const content = noise(5 * BLOCK + 4096 + 123);
  const written = await whole(kind, false, content.length, async (file) => {
    const writes = [];
    for (const start of [2, 0, 1, 4, 5, 3].map((block) => block * BLOCK)) {
      const bytes = allocate(Math.min(BLOCK, content.length - start));
      bytes.set(content.subarray(start, start + bytes.length));
      writes.push(file.write(bytes, start));
    }
    await Promise.all(writes);
    await file.finish(content.length);
  });
  expect(written.equals(content)).toBe(true);
});

test('what is there can be read, and what lies behind the end is cut off', async () => {
  const content = noise(2 * BLOCK);
  await writeFile(join(folder, 'left'), Buffer.concat([content, Buffer.from('left over')]));
  const written = await whole('left', true, content.length, async (file) => {
    const first = new Uint8Array(BLOCK);
    expect(await file.readInto(0, first)).toBe(BLOCK);
    expect(Buffer.from(first).equals(content.subarray(0, BLOCK))).toBe(true);
    const block = memory['aligned memory'](BLOCK);
    block.set(content.subarray(BLOCK).toReversed());
    await file.write(block, BLOCK);
    const second = new Uint8Array(2 * BLOCK);
    expect(await file.readInto(BLOCK, second)).toBe(BLOCK + 'left over'.length);
    expect(Buffer.from(second.subarray(0, BLOCK)).equals(block)).toBe(true);
    await file.finish(2 * BLOCK);
  });
  expect(written.equals(Buffer.concat([content.subarray(0, BLOCK), content.subarray(BLOCK).toReversed()]))).toBe(true);
});

test('a file of less than a block', async () => {
  const content = noise(100);
  const written = await whole('small', false, content.length, async (file) => {
    await file.write(content, 0);
    await file.finish(content.length);
  });
  expect(written.equals(content)).toBe(true);
});

test('a new file must not be there yet', async () => {
  await writeFile(join(folder, 'there'), 'x');
  await expect(openOutput(join(folder, 'there'), { exists: false, size: 1 })).rejects.toMatchObject({ code: 'EEXIST' });
});

test('bytes that the disk did not take while others were being written fail the file at its end, though the last sync says nothing of them', async () => {
  const probe = await open(join(folder, 'probe'), 'w');
  const handles = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  const lost = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
  // As Linux does: of one failure each file that is open hears once.
  jest.spyOn(handles, 'datasync').mockRejectedValue(lost);
  jest.spyOn(handles, 'sync').mockResolvedValue(undefined);
  const file = await openOutput(join(folder, 'lost'), { exists: false, size: 100 });
  try {
    const piece = new Uint8Array(32 * 2 ** 20);
    for (const index of [0, 1]) await file.write(piece, index * piece.length);
    expect(await file.isDamaged()).toBe(true);
    await expect(file.finish(2 * piece.length)).rejects.toBe(lost);
  } finally {
    jest.restoreAllMocks();
    await file.close();
  }
});
