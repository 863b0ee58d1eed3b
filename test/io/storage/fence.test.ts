/** From the side of somebody who may write a pipeline's input and wants more than the worker allows. */
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openSource } from '../../../src/io/locations/open.ts';
import { checkBucket, localFence } from '../../../src/io/storage/fence.ts';
import { createStorage } from '../../../src/io/storage/storage.ts';

let base: string;
let inside: string;
let outside: string;

beforeAll(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'ckpt-fence-')));
  inside = join(base, 'data');
  outside = join(base, 'private');
  await mkdir(join(inside, 'sub'), { recursive: true });
  await mkdir(outside);
  await mkdir(join(base, 'data-2'));
  await writeFile(join(inside, 'good.pt'), 'good');
  await writeFile(join(outside, 'secret.pt'), 'secret');
  await writeFile(join(base, 'data-2', 'x.pt'), 'x');
  await symlink(join(outside, 'secret.pt'), join(inside, 'link.pt'));
  await symlink(outside, join(inside, 'folder'));
  await symlink('../private/secret.pt', join(inside, 'relative.pt'));
  await symlink(join(outside, 'not-yet.pt'), join(inside, 'dangling.pt'));
  await symlink(join(inside, 'good.pt'), join(inside, 'good-link.pt'));
  await symlink('loop', join(inside, 'loop'));
  await symlink(inside, join(base, 'root-link'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const storage = () => createStorage({ settings: { s3: [], http: {}, allow: { roots: [inside] } } });

describe('reading', () => {
  test.each(['good.pt', 'sub/../good.pt', 'good-link.pt'])('%s is let through', async (name) => {
    const source = await storage().open(`${inside}/${name}`);
    expect(Buffer.from(await source.read(0, 4)).toString()).toBe('good');
    await source.close();
  });

  test.each([
    ['a path outside', () => join(outside, 'secret.pt')],
    ['a path outside that does not exist', () => join(outside, 'none.pt')],
    ['`..`', () => `${inside}/../private/secret.pt`],
    ['`..` after a link', () => `${inside}/folder/../private/secret.pt`],
    ['`..` with escapes', () => `${pathToFileURL(inside).href}/%2e%2e/private/secret.pt`],
    ['a link', () => join(inside, 'link.pt')],
    ['a relative link', () => join(inside, 'relative.pt')],
    ['a link whose end does not exist', () => join(inside, 'dangling.pt')],
    ['a folder that is a link', () => join(inside, 'folder', 'secret.pt')],
    ['a missing file in a folder that is a link', () => join(inside, 'folder', 'none.pt')],
    ['a folder whose name begins alike', () => join(base, 'data-2', 'x.pt')],
    ['/proc', () => '/proc/self/environ'],
  ])('%s is refused in the same words', async (_, path) => {
    const error = await storage()
      .open(path())
      .then(
        () => null,
        (thrown: Error) => thrown,
      );
    expect(error).toMatchObject({ code: 'CheckpointConfigError', retryable: false, details: { reason: 'outside_fence' } });
    expect(error!.message).toMatch(/ lies outside the folders that this worker may use: /);
  });

  test('what was pinned passes the fence again', async () => {
    const uri = pathToFileURL(join(outside, 'secret.pt')).href;
    await expect(storage().openPinned({ uri, size: 6, identity: '' })).rejects.toMatchObject({ details: { reason: 'outside_fence' } });
  });

  test('a loop of links ends', async () => {
    await expect(storage().open(join(inside, 'loop', 'x.pt'))).rejects.toMatchObject({ retryable: false });
  });

  test('a root may be a link itself', async () => {
    const linked = createStorage({ settings: { s3: [], http: {}, allow: { roots: [join(base, 'root-link')] } } });
    await (await linked.open(join(inside, 'good.pt'))).close();
    await expect(linked.open(join(outside, 'secret.pt'))).rejects.toMatchObject({ details: { reason: 'outside_fence' } });
  });

  test('no roots at all shut everything', async () => {
    await expect(localFence([]).checkPath(join(inside, 'good.pt'))).rejects.toThrow(/may use: none/);
  });
});

describe('buckets', () => {
  const allow = { buckets: ['models', 'ckpt-*', 'shared/team', 'logs/a/'] };
  test.each([
    ['models', 'k'],
    ['ckpt-1', 'a/b'],
    ['shared', 'team/x'],
    ['logs', 'a/x'],
    ['models', ''],
  ])('%s/%s is let through', (bucket, key) => expect(() => checkBucket(allow, bucket, key)).not.toThrow());
  test.each([
    ['models2', 'k'],
    ['my-models', 'k'],
    ['ckpt', 'k'],
    ['shared', 'team-b/x'],
    ['shared', 'x'],
    ['logs', 'ab/x'],
    // All of a bucket of which a part is allowed.
    ['shared', ''],
    ['logs', ''],
  ])('%s/%s is refused', (bucket, key) => expect(() => checkBucket(allow, bucket, key)).toThrow(/outside the buckets/));

  test('before a request is made, and a key cannot climb out of its prefix', async () => {
    const fenced = createStorage({ settings: { s3: [], http: {}, allow: { buckets: ['shared/team'] } } });
    await expect(fenced.open('s3://other/key')).rejects.toMatchObject({ details: { reason: 'outside_fence' } });
    await expect(fenced.openPinned({ uri: 's3://other/key', size: 1, identity: '"e"' })).rejects.toMatchObject({
      details: { reason: 'outside_fence' },
    });
    for (const whole of ['s3://shared', 's3://shared/']) {
      await expect(fenced.s3(whole)).rejects.toMatchObject({ details: { reason: 'outside_fence' } });
      await expect(openSource(whole, fenced)).rejects.toMatchObject({ details: { reason: 'outside_fence' } });
    }
    await expect(fenced.open('s3://shared/team/../other/key')).rejects.toThrow(/part `\.` or `\.\.`/);
  });
});
