/** What runs are found by is spelt in one way, before their source is read and after. */
import { pathToFileURL } from 'node:url';
import { expect, test } from '@jest/globals';
import { startAttributes } from '../../src/pipeline/search-attributes.ts';

const sourceOf = (stage: object): unknown => startAttributes({ stages: [{ type: 'source.local', ...stage }] }).CheckpointSource;

test.each(['/data/last.ckpt', '/a b/ü%20#?x{1}.ckpt', '/a/../b//c.ckpt', '/back\\slash\nand\tmore'])('a path as its URI: %j', (path) => {
  expect(sourceOf({ path })).toBe(pathToFileURL(path.replaceAll('//', '/')).href);
});

test('all else as it is, without secrets', () => {
  expect(sourceOf({ path: 'file:///data/a.ckpt' })).toBe('file:///data/a.ckpt');
  expect(sourceOf({ path: 'data/a.ckpt' })).toBe('data/a.ckpt');
  expect(sourceOf({ url: 's3://bucket/a b.ckpt' })).toBe('s3://bucket/a b.ckpt');
  expect(sourceOf({ url: 'https://us:hush@h/a.ckpt?token=hush' })).toBe('https://…@h/a.ckpt');
  expect(sourceOf({ url: 'https://us:hu@sh@h/a@b.ckpt' })).toBe('https://…@h/a@b.ckpt');
  expect(sourceOf({ url: 'sftp://us:hu@sh@h/a.ckpt' })).toBe('sftp://…@h/a.ckpt');
});
