import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { partialsFolder } from '../../../src/io/publish/partials.ts';
import { publishLocal, type PartialProgress } from '../../../src/io/publish/publish-local.ts';
import type { ByteSource } from '../../../src/model/byte-source.ts';
import { selectWeights } from '../../../src/transform/select-weights.ts';
import { memorySource, noise } from '../../support/memory-source.ts';
import { dict, tensor, torchFile } from '../../support/torch-file.ts';

/** Three blocks of what is read from afar. */
const BYTES = 20 * 2 ** 20;
const CONTENT = noise(BYTES);
const FILE = torchFile(dict({ weight: tensor(0, [BYTES / 4]) }), { '0': CONTENT });
/** Of a byte in the tensor's first block. */
const AT = FILE.indexOf(CONTENT.subarray(0, 1000)) + 500;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-damage-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A source that changes the byte each time it is read, by what `flip` gives for the time. */
function changing(uri: string, flip: (time: number) => number): { readonly source: ByteSource; readonly times: () => number } {
  const { readEach: _, ...sound } = memorySource(FILE, uri);
  let times = 0;
  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    await sound.readInto(offset, target);
    if (AT >= offset && AT < offset + target.length) target[AT - offset]! ^= flip(times++);
  };
  return { source: { ...sound, readInto }, times: () => times };
}

async function publish(source: ByteSource, resume?: PartialProgress) {
  const plan = selectWeights(await readHeader(memorySource(FILE, source.uri)), { skipUnsupported: false });
  let last: PartialProgress | undefined;
  const ended = await publishLocal({
    uri: join(folder, 'out'),
    layout: layoutSafetensors(plan),
    plan,
    open: async () => source,
    token: 'token',
    content: 'content',
    overwrite: 'if_changed',
    ...(resume === undefined ? {} : { resume }),
    onProgress: (progress) => (last = progress),
    signal: new AbortController().signal,
  }).then(
    () => null,
    (error: unknown) => error,
  );
  return { error: ended, last };
}

test('a byte that is another when it is read again was changed on the way: the next attempt takes nothing of it', async () => {
  const { source } = changing('s3://bucket/w.pt', (time) => (time === 0 ? 1 : 0));
  const { error, last } = await publish(source);
  expect(error).toMatchObject({
    code: 'CheckpointSourceError',
    retryable: true,
    message: expect.stringMatching(/^s3:\/\/bucket\/w\.pt: the bytes of weight came damaged: their CRC-32 was .* look at the proxies/),
    details: { code: 'DamagedOnTheWay', tensor: 'weight' },
  });
  expect(last!.offset).toBeGreaterThan(0);
  expect((await readdir(partialsFolder(join(folder, 'out'), 'token'))).filter((name) => name !== 'made')).toEqual([]);
  expect(await publish(source, last)).toMatchObject({ error: null });
  const written = await readFile(join(folder, 'out'));
  expect(Buffer.compare(written.subarray(-BYTES), CONTENT)).toBe(0);
});

test('one that is another each time is changed on the way', async () => {
  const { source } = changing('https://example.org/w.pt', (time) => time + 1);
  expect((await publish(source)).error).toMatchObject({ code: 'CheckpointSourceError', retryable: true });
});

test.each([
  ['s3://bucket/w.pt', 2],
  ['file:///w.pt', 1],
])('a damaged file at %s is damaged for good, found out by %d reads', async (uri, reads) => {
  const { source, times } = changing(uri, () => 1);
  const { error } = await publish(source);
  expect(error).toMatchObject({
    code: 'CheckpointLoadError',
    retryable: false,
    message: expect.stringMatching(/the bytes of weight are damaged: .* Copy the file again from where it came\.$/),
    details: { tensor: 'weight' },
  });
  expect(times()).toBe(reads);
});

test('what cannot be read again says so', async () => {
  const { source } = changing('s3://bucket/w.pt', (time) => {
    if (time > 0) throw new Error('away');
    return 1;
  });
  expect((await publish(source)).error).toMatchObject({ message: 'away' });
});
