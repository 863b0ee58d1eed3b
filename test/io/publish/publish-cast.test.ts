/** Casts as they are published: the bytes that torch's `.to()` gives, and a count of what did not fit. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { openLocalFile, openPinned } from '../../../src/io/local/local-file.ts';
import { publishLocal, type PartialProgress } from '../../../src/io/publish/publish-local.ts';
import { pin } from '../../../src/model/byte-source.ts';
import type { Plan } from '../../../src/model/plan.ts';

const COUNT = 6 * 2 ** 20;
let folder: string;
let plan: Plan;
let expected: Uint8Array;
let beyond = 0;
/** Milliseconds, for a disk that others write to as well; a bound against hangs. */
const LONG = 300_000;

/** 24 MiB of F32, of which every 1000th value is too large for F16: whole numbers, so that the rest is exact. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-cast-'));
  const values = Float32Array.from({ length: COUNT }, (_, index) => (index % 1000 === 7 ? 1e6 : (index % 4096) - 2048));
  beyond = values.filter((value) => value === 1e6).length;
  // Of these whole numbers, F16 is BigInt-free arithmetic away: sign, exponent, and the bits below the highest.
  const halves = Uint16Array.from(values, (value) => {
    if (value === 1e6) return 0x7c00;
    const [sign, size] = [value < 0 ? 0x8000 : 0, Math.abs(value)];
    if (size === 0) return sign;
    const exponent = Math.floor(Math.log2(size));
    return sign | ((exponent + 15) << 10) | ((size - 2 ** exponent) * 2 ** (10 - exponent));
  });
  expected = new Uint8Array(halves.buffer);
  await writeFile(join(folder, 'source.bin'), new Uint8Array(values.buffer));
  const file = await openLocalFile(join(folder, 'source.bin'));
  plan = {
    files: [pin(file)],
    storages: [{ file: 0, location: { kind: 'range', offset: 0 }, length: 4 * COUNT }],
    tensors: [{ name: 'w', dtype: 'F16', shape: [COUNT], origin: { dtype: 'F32', shape: [COUNT], storage: 0, offset: 0 } }],
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
  await file.close();
}, LONG);
afterAll(() => rm(folder, { recursive: true, force: true }));

function publish(
  name: string,
  signal: AbortSignal,
  resume?: PartialProgress,
  onProgress: (progress: PartialProgress) => void = () => undefined,
) {
  const layout = layoutSafetensors(plan);
  return publishLocal({
    uri: join(folder, name),
    layout,
    plan,
    open: openPinned,
    token: 'token',
    content: 'content',
    overwrite: 'if_changed',
    ...(resume === undefined ? {} : { resume }),
    onProgress,
    signal,
  });
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('a cast tensor has the bytes of the new dtype, and its overflows are counted', async () => {
  const copied = await publish('cast.safetensors', new AbortController().signal);
  expect(copied.tensors[0]).toBe(sha256(expected));
  expect(copied.overflowed).toEqual({ 0: beyond });
});

test('the count goes on where an interrupted attempt stopped', async () => {
  const abort = new AbortController();
  let last: PartialProgress | undefined;
  const attempt = publish('resumed.safetensors', abort.signal, undefined, (progress) => {
    last = progress;
    abort.abort(new Error('WORKER_SHUTDOWN'));
  });
  await expect(attempt).rejects.toThrow('WORKER_SHUTDOWN');
  expect(last!.overflowed![0]).toBeGreaterThan(0);
  const copied = await publish('resumed.safetensors', new AbortController().signal, last);
  expect(copied.tensors[0]).toBe(sha256(expected));
  expect(copied.overflowed).toEqual({ 0: beyond });
});
