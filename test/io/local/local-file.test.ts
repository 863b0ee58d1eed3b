/** Local paths that are not files: pipes and devices. */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, open, rm, stat, symlink, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { checkReplaceable, localPath, openLocalFile, regularText, smallText } from '../../../src/io/local/local-file.ts';
import { checkWritable } from '../../../src/io/locations/places.ts';
import { destinationOf } from '../../../src/io/publish/destination.ts';
import { checkDestination } from '../../../src/io/publish/publish-local.ts';
import { createStorage } from '../../../src/io/storage/storage.ts';

let folder: string;
let pipe: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-local-'));
  pipe = join(folder, 'pipe');
  expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a pipe that nobody writes to is refused at once, also many times over, as often as there are threads', async () => {
  const opened = await Promise.allSettled(Array.from({ length: 12 }, () => openLocalFile(pipe)));
  for (const each of opened)
    expect(each).toMatchObject({ status: 'rejected', reason: { message: expect.stringContaining('is not a regular file') } });
  await expect(openLocalFile('/dev/zero')).rejects.toThrow('not a regular file');
  await expect(openLocalFile(folder)).rejects.toThrow('is a folder');
});

test('a link to nothing is told as one, with what it names', async () => {
  const link = join(folder, 'dangling.ckpt');
  await symlink('../gone/last.ckpt', link);
  await expect(openLocalFile(link)).rejects.toMatchObject({
    code: 'CheckpointNotFoundError',
    message: `There is no file ${link}: it is a link to ../gone/last.ckpt, which is not there.`,
  });
  await expect(openLocalFile(join(link, 'x.pt'))).rejects.toThrow('does not exist');
  await rm(link);
});

test('what is not a file, or too large for one that is read as a whole, is not a manifest', async () => {
  const file = join(folder, 'a.json');
  const large = join(folder, 'large.json');
  await writeFile(file, '{}');
  await writeFile(large, '').then(() => truncate(large, 129 * 2 ** 20));
  expect(await Promise.all([file, pipe, folder, large, join(folder, 'none')].map(regularText))).toEqual(['{}', null, null, null, null]);
  for (const [path, why] of [
    [pipe, 'it is not a regular file, expected a small text file'],
    [folder, 'it is a folder, expected a small text file'],
    [large, 'it has 135266304 bytes, at most 134217728 were expected'],
  ] as const)
    await expect(smallText(path)).rejects.toMatchObject({ code: 'CheckpointLoadError', message: `${path} cannot be read: ${why}.` });
  expect(await smallText(join(folder, 'none'))).toBeNull();
});

test('a disk or a server of files in trouble says nothing of what is there', async () => {
  const file = join(folder, 'b.json');
  await writeFile(file, '{}');
  const probe = await open(file);
  const handles = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  jest.spyOn(handles, 'readFile').mockRejectedValue(Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' }));
  await expect(regularText(file).finally(() => jest.restoreAllMocks())).rejects.toMatchObject({
    code: 'CheckpointSourceError',
    retryable: true,
    message: `${file} cannot be read: EIO: i/o error, read.`,
  });
  const loop = join(folder, 'loop');
  await symlink(loop, loop);
  await expect(destinationOf(createStorage(), loop).identity(loop)).rejects.toMatchObject({
    code: 'CheckpointSourceError',
    retryable: true,
    message: expect.stringMatching(`^It cannot be told whether ${loop} is there: ELOOP`),
  });
});

test('a pipe or a device is not replaced by what is published', async () => {
  for (const path of [pipe, '/dev/null']) {
    await expect(checkWritable(path, createStorage())).rejects.toThrow('a device, a pipe or a socket');
    await expect(checkDestination(path, [])).rejects.toThrow('a device, a pipe or a socket');
  }
  expect((await stat(pipe)).isFIFO()).toBe(true);
});

test('nothing is replaced among the devices, whatever it leads to now; shared memory is for files', async () => {
  const devices = join(folder, 'devices');
  await symlink('/dev', devices);
  // None of these writes anything.
  for (const path of ['/dev/ckpt-none', '/proc/self/ckpt-none', '/proc/self/fd/ckpt-none', '/sys/ckpt-none', join(devices, 'ckpt-none')]) {
    await expect(checkWritable(path, createStorage())).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringMatching(/^\S+ lies in \/(dev|proc|sys)\b.*; `uri` must name a file elsewhere\.$/),
    });
    await expect(checkDestination(path, [])).rejects.toThrow('where the system keeps devices');
  }
  await expect(checkReplaceable('/dev/shm/ckpt-none')).resolves.toBeUndefined();
  await expect(checkReplaceable(folder, '--output')).rejects.toThrow(`${folder} is a folder; \`--output\` must name the file to write.`);
});

test('a folder or a pipe where the manifest of an output is to be is told before the run', async () => {
  const output = join(folder, 'output.safetensors');
  const manifest = `${output}.manifest.json`;
  const checked = (): Promise<unknown> => checkWritable(output, createStorage());
  for (const [make, what] of [
    [() => mkdir(manifest), 'a folder'],
    [() => symlink(pipe, manifest), 'a device, a pipe or a socket'],
  ] as const) {
    await make();
    await expect(checked()).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: `${manifest} is ${what}, where the manifest of ${output} is to be written. Move it away, or choose another \`uri\`.`,
    });
    await rm(manifest, { recursive: true });
  }
  await writeFile(manifest, '{}');
  await checked();
});

test.each([
  ['a'.repeat(229), true],
  ['a'.repeat(230), false],
  ['ä'.repeat(115), false],
])('a name has room for that of what is kept beside it: %s, %s', async (name, isTaken) => {
  const checked = checkWritable(join(folder, name), createStorage());
  if (isTaken) await checked;
  else await expect(checked).rejects.toThrow('has a name of 230 bytes; at most 229 can be published. Choose a shorter one.');
});

test.each([
  ['file:///a/..%2fb', 'encoded /'],
  ['file://evil/x.pt', 'host'],
  ['file:///%zz', 'malformed'],
  ['file:///a%00b', 'NUL'],
  ['/a\0b', 'NUL'],
])('%j is not a local path', async (uri, message) => {
  const refused = { code: 'CheckpointConfigError', message: expect.stringContaining(message) };
  expect(() => localPath(uri)).toThrow(expect.objectContaining(refused));
  await expect(openLocalFile(uri)).rejects.toMatchObject(refused);
});

test('a file URI says its path', () => {
  expect(localPath('file:///a%20b/c')).toBe('/a b/c');
  expect(localPath('file://localhost/a')).toBe('/a');
  expect(localPath('FILE:///a/b')).toBe('/a/b');
});
