/** From the side of somebody who may write a pipeline's input and wants more than the worker allows. */
import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { listItems } from '../../../src/io/batch-items.ts';
import { openSource } from '../../../src/io/locations/open.ts';
import { checkWritable } from '../../../src/io/locations/places.ts';
import { destinationOf } from '../../../src/io/publish/destination.ts';
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

/** A system goes up from where a link leads, here to `base`; a place means what it says, here `inside`. What is checked must be what is used. */
describe('`..` behind a link', () => {
  const climbing = (name: string): string => `${inside}/folder/../${name}`;

  test('nothing outside is overwritten, made or removed: what is checked is where is written', async () => {
    await writeFile(join(base, 'victim.jsonl'), 'untouched');
    const place = climbing('victim.jsonl');
    const fenced = storage();
    await fenced.check(place);
    await checkWritable(place, fenced);
    const files = destinationOf(fenced, place);
    await files.write(place, 'written');
    expect(await readFile(join(inside, 'victim.jsonl'), 'utf8')).toBe('written');
    expect(await files.read(place)).toBe('written');
    await files.remove(place);
    expect(await readFile(join(base, 'victim.jsonl'), 'utf8')).toBe('untouched');
    await rm(join(base, 'victim.jsonl'));
  });

  test('nothing outside is listed', async () => {
    const keys: string[] = [];
    for await (const { key } of listItems(
      { uri: `${inside}/folder/..`, glob: '**' },
      { storage: storage(), own: async () => null, signal: new AbortController().signal },
    ))
      keys.push(key);
    expect(keys).not.toContain('private/secret.pt');
    expect(keys).toContain('good.pt');
  });

  test('nothing outside is opened', async () => {
    await expect(storage().open(climbing('private/secret.pt'))).rejects.toThrow(`There is no file ${join(inside, 'private', 'secret.pt')}`);
    const source = await storage().open(climbing('good.pt'));
    expect(source.uri).toBe(pathToFileURL(join(inside, 'good.pt')).href);
    await source.close();
  });

  test('no name outside is told, of a folder or beside a missing file', async () => {
    await writeFile(join(base, 'model.safetensors'), 'x');
    await writeFile(join(base, 'nape.pt'), 'x');
    await expect(openSource(`${inside}/folder/..`, storage())).rejects.toThrow(/is a folder without an index.*good\.pt/);
    const { message } = await openSource(climbing('nope.pt'), storage()).then(
      () => ({ message: 'it was opened' }),
      (error: Error) => error,
    );
    expect(message).toContain(`There is no file ${join(inside, 'nope.pt')}.`);
    expect(message).not.toContain('nape');
    await Promise.all(['model.safetensors', 'nape.pt'].map((name) => rm(join(base, name))));
  });

  test('the fence itself follows links before it goes up', async () => {
    await expect(localFence([inside]).checkPath(climbing('x'))).rejects.toMatchObject({ details: { reason: 'outside_fence' } });
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
