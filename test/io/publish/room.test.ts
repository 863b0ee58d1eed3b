import { mkdir, mkdtemp, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { partialsFolder, recordFinished } from '../../../src/io/publish/partials.ts';
import { checkRoomForAll, type Sized } from '../../../src/io/publish/room.ts';

let folder: string;
let free: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-room-'));
  const { bavail, bsize } = await statfs(folder);
  free = bavail * bsize;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Shards of these shares of the disk, in a folder that is not there yet. */
function shards(...shares: readonly number[]) {
  return shares.map((share, index) => ({ uri: `file://${folder}/to-be-made/${index}`, size: Math.round(share * free) }));
}

const setOf = (files: readonly Sized[], beside = 0, content = 'content') => ({ files, beside, token: 'token', content });

test('files that fit one by one, and not all of them, are refused; a folder that is not there has the room of the one above', async () => {
  await checkRoomForAll(setOf(shards(0.4, 0.4)));
  await expect(checkRoomForAll(setOf(shards(0.4, 0.4, 0.4)))).rejects.toMatchObject({
    retryable: false,
    message: expect.stringMatching(`^No room to publish 3 shards from ${folder}/to-be-made/0 on: \\d+ bytes are needed, \\d+ are free`),
    details: { reason: 'no_room', needed_bytes: 3 * Math.round(0.4 * free) },
  });
});

test('what stands for them all needs room, too', async () => {
  await expect(checkRoomForAll(setOf(shards(0.4, 0.4), 0.4 * free))).rejects.toMatchObject({ details: { reason: 'no_room' } });
});

test('what this stage has finished needs no room any more', async () => {
  const path = join(folder, 'finished');
  const partials = partialsFolder(path, 'token');
  await mkdir(partials);
  await writeFile(join(partials, 'partial'), 'bytes');
  await recordFinished(partials, 'partial', { content: 'content', copied: { size: 5, sha256: '', tensors: [], overflowed: {} } });
  await rename(join(partials, 'partial'), path);
  const outputs = [{ uri: path, size: 2 * free }, ...shards(0.4)];
  await checkRoomForAll(setOf(outputs));
  await expect(checkRoomForAll(setOf(outputs, 0, 'another content'))).rejects.toMatchObject({ details: { reason: 'no_room' } });
});
