import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { CheckpointConfigError } from '../../../src/errors.ts';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { identityOf, openLocalFile, openPinned } from '../../../src/io/local/local-file.ts';
import type { Overwrite } from '../../../src/io/publish/overwrite.ts';
import { discardPartials, forgetPartials, partialsFolder } from '../../../src/io/publish/partials.ts';
import { publishLocal, type PartialProgress } from '../../../src/io/publish/publish-local.ts';
import { pin, type ByteSource } from '../../../src/model/byte-source.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { noise } from '../../support/memory-source.ts';

const MIB = 2 ** 20;
let folder: string;
let plan: Plan;
let expected: string;

/** Three tensors of 21, 0 and 19 MiB: some twenty blocks, digests in threads, one of the blocks with parts of both. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-publish-'));
  const sizes = [21 * MIB, 0, 19 * MIB];
  const source = join(folder, 'source.bin');
  await writeFile(source, noise(40 * MIB));
  const file = await openLocalFile(source);
  const storages = sizes.map((length, index) => ({
    file: 0,
    location: { kind: 'range' as const, offset: sizes.slice(0, index).reduce((sum, size) => sum + size, 0) },
    length,
  }));
  plan = {
    files: [pin(file)],
    storages,
    tensors: sizes.map((size, storage) => ({
      name: `t${storage}`,
      dtype: 'U8',
      shape: [size],
      origin: { dtype: 'U8', shape: [size], storage, offset: 0 },
    })),
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
  await file.close();
  expected = (await publish('undisturbed')).sha256;
  expect(expected).toBe(await sha256(join(folder, 'undisturbed')));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

interface Attempt {
  readonly resume?: PartialProgress;
  readonly onProgress?: (progress: PartialProgress) => void;
  readonly signal?: AbortSignal;
  readonly wrap?: (source: ByteSource) => ByteSource;
  readonly overwrite?: Overwrite;
}

function publish(name: string, attempt: Attempt = {}) {
  const { resume, onProgress = () => undefined, signal = new AbortController().signal, wrap = (source) => source, overwrite } = attempt;
  return publishLocal({
    uri: join(folder, name),
    layout: layoutSafetensors(plan),
    plan,
    open: async (file) => wrap(await openPinned(file)),
    token: 'token',
    content: 'content',
    overwrite: overwrite ?? 'if_changed',
    ...(resume === undefined ? {} : { resume }),
    onProgress,
    signal,
  });
}

/** Reads of the source count their bytes and, behind `until`, wait for the signal. */
function stalling(until: number, signal: AbortSignal, asked = { bytes: 0 }): (source: ByteSource) => ByteSource {
  return (source) => ({
    ...source,
    readInto: async (offset, target) => {
      if (offset >= until) await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
      asked.bytes += target.length;
      await source.readInto(offset, target);
    },
  });
}

/** An attempt whose worker stops in the middle; gives what it reported last. */
async function interrupted(name: string, reason = 'WORKER_SHUTDOWN'): Promise<PartialProgress> {
  const abort = new AbortController();
  let last: PartialProgress | undefined;
  const attempt = publish(name, {
    signal: abort.signal,
    wrap: stalling(16 * MIB, abort.signal),
    onProgress: (progress) => {
      last = progress;
      setImmediate(() => abort.abort(new Error(reason)));
    },
  });
  await expect(attempt).rejects.toThrow(reason);
  return last!;
}

async function damage(path: string): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(Buffer.from('damage'), 0, 6, 1000);
  await file.close();
}

async function partials(name: string): Promise<readonly string[]> {
  return (await readdir(partialsFolder(join(folder, name), 'token')).catch(() => [])).filter(
    (each) => each !== 'published.json' && each !== 'made',
  );
}

test('a stopped worker leaves what the next attempt goes on from', async () => {
  const resume = await interrupted('resumed');
  expect(resume.offset).toBeGreaterThan(0);
  expect(await partials('resumed')).toEqual([resume.partial]);
  const asked = { bytes: 0 };
  const done = await publish('resumed', { resume, wrap: stalling(Infinity, new AbortController().signal, asked) });
  expect(done.sha256).toBe(expected);
  expect(await sha256(join(folder, 'resumed'))).toBe(expected);
  expect(asked.bytes).toBeLessThanOrEqual(40 * MIB - resume.offset + 8 * MIB);
  expect(asked.bytes).toBeLessThan(40 * MIB);
  expect([...done.tensors]).toEqual([...(await publish('again')).tensors]);
  expect(await partials('resumed')).toEqual([]);
});

test.each(['NOT_FOUND', 'TIMED_OUT', 'PAUSED', 'RESET', 'HEARTBEAT_DETAILS_CONVERSION_FAILED'])(
  'an attempt that is over for itself alone leaves what it has, too: %s',
  async (reason) => {
    const resume = await interrupted(reason, reason);
    expect(await partials(reason)).toEqual([resume.partial]);
    const asked = { bytes: 0 };
    await publish(reason, { resume, wrap: stalling(Infinity, new AbortController().signal, asked) });
    expect(asked.bytes).toBeLessThan(40 * MIB);
    expect(await sha256(join(folder, reason))).toBe(expected);
  },
);

test('an attempt that ends while it proves what another left, and before it has said so, loses none of it', async () => {
  const resume = await interrupted('twice');
  const abort = new AbortController();
  // Taken over, and renamed, by an attempt that is gone before its first word.
  const second = publish('twice', {
    resume,
    signal: abort.signal,
    onProgress: () => abort.abort(new Error('WORKER_SHUTDOWN')),
  });
  await expect(second).rejects.toThrow('WORKER_SHUTDOWN');
  const [left, ...others] = await partials('twice');
  expect({ renamed: left !== resume.partial, others }).toEqual({ renamed: true, others: [] });
  const asked = { bytes: 0 };
  await publish('twice', { resume, wrap: stalling(Infinity, new AbortController().signal, asked) });
  expect(asked.bytes).toBeLessThan(40 * MIB);
  expect(await sha256(join(folder, 'twice'))).toBe(expected);
});

test('an attempt that is believed dead writes nothing more once another has taken its file over', async () => {
  const late = new AbortController();
  const held = new AbortController();
  let resume: PartialProgress | undefined;
  const zombie = publish('zombie', {
    signal: late.signal,
    onProgress: (progress) => (resume ??= progress),
    wrap: (source) => ({
      ...source,
      readInto: async (offset, target) => {
        if (offset >= 16 * MIB && !held.signal.aborted)
          await new Promise<void>((resolve) => held.signal.addEventListener('abort', () => resolve()));
        await source.readInto(offset, target);
      },
    }),
  });
  const ended = zombie.then(
    () => 'published',
    (error: Error) => error.message,
  );
  while (resume === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
  const { identity } = await publish('zombie', { resume });
  held.abort();
  expect(await ended).toContain('a newer attempt goes on with it');
  expect(await identityOf(join(folder, 'zombie'))).toBe(identity);
  expect(await sha256(join(folder, 'zombie'))).toBe(expected);
});

test('overwrite: never keeps a file that appears during the transfer', async () => {
  const path = join(folder, 'theirs');
  const wrap = (source: ByteSource): ByteSource => ({
    ...source,
    readInto: async (offset, target) => {
      await writeFile(path, 'theirs');
      await source.readInto(offset, target);
    },
  });
  await expect(publish('theirs', { overwrite: 'never', wrap })).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    details: { reason: 'exists' },
  });
  expect(await readFile(path, 'utf8')).toBe('theirs');
  expect(await partials('theirs')).toEqual([]);
  await rm(path);
  await publish('theirs', { overwrite: 'never' });
  expect(await sha256(path)).toBe(expected);
  expect((await stat(path)).nlink).toBe(1);
});

test.each<[string, (path: string, resume: PartialProgress) => Promise<PartialProgress>]>([
  ['a damaged byte', async (path, resume) => (await damage(path), resume)],
  ['a file shorter than reported', async (path, resume) => (await truncate(path, 1000), resume)],
  ['a file longer than the output', async (path, resume) => (await truncate(path, 100 * MIB), resume)],
  ['a file that is gone', async (path, resume) => (await rm(path), resume)],
  ['a report of another place', async (_path, resume) => ({ ...resume, partial: '../elsewhere.partial' })],
  ['a report of no block', async (path, resume) => (await damage(path), { ...resume, offset: resume.offset - 1 })],
])('what was left is proven, not believed: %s', async (name, harm) => {
  const target = `harmed-${name.replaceAll(' ', '-')}`;
  const left = await interrupted(target);
  const resume = await harm(join(partialsFolder(join(folder, target), 'token'), left.partial), left);
  const done = await publish(target, { resume });
  expect(done.sha256).toBe(expected);
  expect(await sha256(join(folder, target))).toBe(expected);
  expect((await stat(join(folder, target))).size).toBe(done.size);
  expect(await partials(target)).toEqual([]);
});

test('7. Save: written aside and renamed, so a cancelled attempt leaves nothing', async () => {
  await interrupted('cancelled', 'CANCELLED');
  expect((await readdir(folder)).filter((each) => each.includes('cancelled'))).toEqual([]);
});

test('an attempt that fails for good leaves nothing, one that may be tried again its partial file, until it is discarded', async () => {
  const broken = (error: Error) => (source: ByteSource) => ({ ...source, readInto: async () => Promise.reject(error) });
  await expect(publish('broken', { wrap: broken(new Error('connection reset')) })).rejects.toThrow('connection reset');
  expect(await partials('broken')).toHaveLength(1);
  await discardPartials(join(folder, 'broken'), 'another');
  expect(await partials('broken')).toHaveLength(1);
  await discardPartials(join(folder, 'broken'), 'token');
  expect((await readdir(folder)).filter((each) => each.includes('broken'))).toEqual([]);
});

test('folders that were made for an output go with it, whoever clears up; those that were there stay', async () => {
  await mkdir(join(folder, 'there'));
  const broken = (error: Error) => (source: ByteSource) => ({ ...source, readInto: async () => Promise.reject(error) });
  for (const made of ['made', join('there', 'made')]) {
    const name = join(made, 'a', 'b');
    await expect(publish(name, { wrap: broken(new Error('connection reset')) })).rejects.toThrow('connection reset');
    await expect(publish(name, { wrap: broken(new Error('connection reset')) })).rejects.toThrow('connection reset');
    expect(await partials(name)).toHaveLength(1);
    await discardPartials(join(folder, name), 'token');
    await expect(publish(name, { wrap: broken(new CheckpointConfigError('for good')) })).rejects.toThrow('for good');
  }
  expect((await readdir(folder)).includes('made')).toBe(false);
  expect(await readdir(join(folder, 'there'))).toEqual([]);
  await publish(join('made', 'a', 'b'));
  await forgetPartials(join(folder, 'made', 'a', 'b'), 'token');
  expect(await readdir(join(folder, 'made', 'a'))).toEqual(['b']);
});

test('they go also with an output that was complete and is taken back', async () => {
  const name = join('withdrawn', 'below', 'output');
  await publish(name);
  await rm(join(folder, name));
  await forgetPartials(join(folder, name), 'token');
  expect((await readdir(folder)).includes('withdrawn')).toBe(false);
});

test('folders are not taken for made by the word of a file that was cut where the machine went down', async () => {
  const name = join('users', 'own', 'output');
  await mkdir(join(folder, 'users', 'own'), { recursive: true });
  for (const cut of ['', folder.slice(0, 5), folder]) {
    const partials = partialsFolder(join(folder, name), 'token');
    await mkdir(partials);
    await writeFile(join(partials, 'made'), cut);
    await discardPartials(join(folder, name), 'token');
    expect(await readdir(join(folder, 'users', 'own'))).toEqual([]);
  }
});

test('the first error wins over what closing says', async () => {
  const wrap = (source: ByteSource): ByteSource => ({
    ...source,
    readInto: async () => Promise.reject(new Error('the read failed')),
    close: async () => source.close().then(() => Promise.reject(new Error('closing failed'))),
  });
  await expect(publish('closing', { wrap })).rejects.toThrow('the read failed');
  await expect(publish('closing', { wrap: (source) => ({ ...wrap(source), readInto: source.readInto }) })).rejects.toThrow(
    'closing failed',
  );
  await discardPartials(join(folder, 'closing'), 'token');
});

test('what the disk did not take is gone on with by nobody: the system shows it from memory as if it were there', async () => {
  const probe = await open(join(folder, 'probe'), 'w');
  const handles = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  jest.spyOn(handles, 'sync').mockRejectedValue(Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' }));
  await expect(publish('unsynced').finally(() => jest.restoreAllMocks())).rejects.toThrow('EIO');
  expect(await partials('unsynced')).toEqual([]);
  expect(await identityOf(join(folder, 'unsynced'))).toBeNull();
});

test('a source that changes while it is copied is refused', async () => {
  const source = join(folder, 'source.bin');
  const before = await readFile(source);
  const wrap = (file: ByteSource): ByteSource => ({
    ...file,
    readInto: async (offset, target) => {
      await writeFile(source, before);
      await file.readInto(offset, target);
    },
  });
  await expect(publish('changed', { wrap })).rejects.toMatchObject({ code: 'CheckpointSourceError', retryable: false });
  expect(await partials('changed')).toEqual([]);
  expect(await readdir(folder)).not.toContain('changed');
});
