import { expect, test } from '@jest/globals';
import { siblingsOf } from '../../../src/io/locations/siblings.ts';
import { parseS3, parseS3Output, parseS3Prefix, parseS3Source, s3Uri } from '../../../src/io/s3/location.ts';
import { memorySource } from '../../support/memory-source.ts';

test.each([
  ['s3://bucket/key', 'bucket', 'key', null],
  ['S3://bucket/a/b c%20d?#.ckpt', 'bucket', 'a/b c%20d?#.ckpt', null],
  ['s3://bucket//key', 'bucket', '/key', null],
  ['s3://bucket/prefix/', 'bucket', 'prefix/', null],
  ['s3://bucket/épée=1.pt?versionId=a.B_1', 'bucket', 'épée=1.pt', 'a.B_1'],
])('%s', (uri, bucket, key, versionId) => {
  expect(parseS3(uri)).toEqual({ bucket, key, versionId });
  expect(parseS3(s3Uri({ bucket, key }))).toEqual({ bucket, key, versionId: null });
});

test.each([
  ['s3://', /not the name of a bucket/],
  ['s3://bucket', /no object in it/],
  ['s3://bucket/', /no object in it/],
  ['s3:///key', /not the name of a bucket/],
  ['s3://b*/key', /not the name of a bucket/],
  ['s3://bucket/a/../b', /part `\.` or `\.\.`/],
  ['s3://bucket/.', /part `\.` or `\.\.`/],
  ['s3://bucket/a\nb', /control characters/],
  [`s3://bucket/${'k'.repeat(1025)}`, /at most 1024/],
])('%j is refused', (uri, message) => expect(() => parseS3(uri)).toThrow(message));

test.each([
  ['s3://bucket', ''],
  ['s3://bucket/', ''],
  ['s3://bucket/prefix/', 'prefix/'],
])('where many objects are meant, %s may name a bucket alone', (uri, key) => {
  expect(parseS3Prefix(uri)).toEqual({ bucket: 'bucket', key, versionId: null });
  expect(() => parseS3Prefix(uri.replace('bucket', 'b*'))).toThrow(/not the name of a bucket/);
});

test('a checkpoint of several files lies under a prefix, or in a bucket of its own', () => {
  expect(parseS3Source('s3://bucket/')).toEqual({ bucket: 'bucket', key: '', versionId: null });
  expect(parseS3Source('s3://bucket/prefix/')).toEqual({ bucket: 'bucket', key: 'prefix/', versionId: null });
  expect(() => parseS3Source('s3://bucket')).toThrow(/no object in it/);
});

test('credentials in a URI are refused and not repeated', () => {
  expect(() => parseS3('s3://id:hush@bucket/key')).toThrow(/^(?!.*hush).*credentials do not belong/);
  expect(() => parseS3('s3://AKIA:wJ/hu/sh@bucket/key')).toThrow(/^s3:\/\/…@bucket\/key: credentials do not belong/);
  expect(() => parseS3('s3://AKIA:hush/bucket/key')).toThrow(/^s3:\/\/…: credentials do not belong/);
});

test('siblings keep the key as it is written', async () => {
  const opened: string[] = [];
  const sibling = siblingsOf('s3://bucket/a b/x?y/model.index.json', async (uri) => {
    opened.push(uri);
    return memorySource(new Uint8Array(1));
  });
  await sibling('shard 1?.safetensors');
  expect(opened).toEqual(['s3://bucket/a b/x?y/shard 1?.safetensors']);
  await expect(sibling('../other')).rejects.toThrow(/not a plain file name/);
});

test('an output has no version yet, and leaves room for the names beside it', () => {
  expect(parseS3Output('s3://bucket/a.safetensors')).toEqual({ bucket: 'bucket', key: 'a.safetensors', versionId: null });
  expect(() => parseS3Output('s3://bucket/a.safetensors?versionId=1')).toThrow(/names a version/);
  expect(parseS3Output(`s3://bucket/${'k'.repeat(992)}`).key).toHaveLength(992);
  expect(() => parseS3Output(`s3://bucket/${'k'.repeat(993)}`)).toThrow(/993 bytes long; of an output at most 992/);
});
