import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, utimes, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { removeStale } from '../../../src/io/local/atomic-file.ts';
import { destinationOf } from '../../../src/io/publish/destination.ts';
import { createStorage } from '../../../src/io/storage/storage.ts';

const ASIDE = '.out.json.partial';
const DEAD = 'bf463d32-2932-41eb-8863-fb8794aaf6d1';
const ALIVE = '0f463d32-2932-41eb-8863-fb8794aaf6d1';
/** Of a transfer, which has its own rules; and of another file. */
const OTHERS = ['.out.json.token.partial', '.out.json.more.partial'];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-atomic-'));
  for (const name of [ASIDE, ...OTHERS]) await mkdir(join(folder, name));
  for (const name of [`${ASIDE}/${DEAD}`, `${ASIDE}/${ALIVE}`, ...OTHERS.map((other) => `${other}/${DEAD}`)])
    await writeFile(join(folder, name), '{"cut');
  const before = new Date(Date.now() - 60_000);
  for (const name of [ASIDE, ...OTHERS]) await utimes(join(folder, name, DEAD), before, before);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('what a killed process left of a file goes when it is written anew; what another writes now stays', async () => {
  const path = join(folder, 'out.json');
  await destinationOf(createStorage(), path).write(path, '{}');
  expect(await readFile(path, 'utf8')).toBe('{}');
  expect((await readdir(folder)).toSorted()).toEqual([ASIDE, ...OTHERS, 'out.json'].toSorted());
  expect(await readdir(join(folder, ASIDE))).toEqual([ALIVE]);
  for (const other of OTHERS) expect(await readdir(join(folder, other))).toEqual([DEAD]);
});

test('who waits for what it writes keeps its file', async () => {
  const path = join(folder, 'slow.json');
  const aside = join(folder, '.slow.json.partial');
  const touched = async (): Promise<boolean> => {
    const [name] = await readdir(aside);
    return (await stat(join(aside, name!))).mtimeMs > Date.now() - 30_000;
  };
  async function* slow(): AsyncGenerator<string> {
    yield '{';
    const [name] = await readdir(aside);
    const before = new Date(Date.now() - 60_000);
    await utimes(join(aside, name!), before, before);
    while (!(await touched())) await sleep(50);
    await removeStale(path);
    yield '}';
  }
  const files = destinationOf(createStorage(), path);
  const identity = await files.writeLong(path, slow());
  expect(await readFile(path, 'utf8')).toBe('{}');
  expect((await files.identity(path))!.identity).toBe(identity);
});

test('the name of what was written is on the disk, too, where the system bears that', async () => {
  const path = join(folder, 'synced.json');
  const probe = await open(folder);
  const handles = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  const folders: boolean[] = [];
  const { sync } = handles;
  jest.spyOn(handles, 'sync').mockImplementation(async function (this: FileHandle) {
    folders.push((await this.stat()).isDirectory());
    await sync.call(this);
  });
  try {
    await destinationOf(createStorage(), path).write(path, '{}');
    expect(folders).toEqual([false, true]);
    jest.spyOn(handles, 'sync').mockImplementation(async function (this: FileHandle) {
      if ((await this.stat()).isDirectory()) throw Object.assign(new Error('EINVAL: fsync'), { code: 'EINVAL' });
    });
    await destinationOf(createStorage(), path).write(path, '[]');
  } finally {
    jest.restoreAllMocks();
  }
  expect(await readFile(path, 'utf8')).toBe('[]');
});

test('nothing but the file is left, whoever else writes it at the time', async () => {
  const path = join(folder, 'busy.json');
  const files = destinationOf(createStorage(), path);
  const texts = Array.from({ length: 50 }, (_, index) => JSON.stringify({ index }));
  await Promise.all(texts.map((text) => files.write(path, text)));
  expect(texts).toContain(await readFile(path, 'utf8'));
  expect((await readdir(folder)).filter((name) => name.includes('busy'))).toEqual(['busy.json']);
});

test('a full disk, of which the system names no place, is told with it', async () => {
  const path = join(folder, 'long.json');
  async function* full(): AsyncGenerator<string> {
    yield '{';
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
  }
  await expect(destinationOf(createStorage(), path).writeLong(path, full())).rejects.toMatchObject({
    code: 'CheckpointError',
    message: `${path} cannot be written: ENOSPC: no space left on device, write.`,
  });
  expect((await readdir(folder)).filter((name) => name.includes('long'))).toEqual([]);
});

test('a folder that cannot be written to is said', async () => {
  const path = join(folder, 'out.json', 'inside.json');
  await writeFile(join(folder, 'out.json'), '{}');
  await expect(destinationOf(createStorage(), path).write(path, '{}')).rejects.toThrow('ENOTDIR');
});

test.each(['discard', 'settle'] as const)('it goes when a stage ends, too, by `%s`: of the manifest', async (end) => {
  const aside = join(folder, '.weights.safetensors.manifest.json.partial');
  await mkdir(aside);
  await writeFile(join(aside, DEAD), '{"cut');
  await utimes(join(aside, DEAD), 1, 1);
  const path = join(folder, 'weights.safetensors');
  await destinationOf(createStorage(), path)[end](path, 'token');
  expect(await readdir(folder)).not.toContain(basename(aside));
});
