/** What answers of status 200 are by their first element. */
import { expect, test } from '@jest/globals';
import { statusByXml } from '../../../../src/io/s3/aws/xml-answers.ts';

const status = (text: string): number => statusByXml('ListObjectsV2Command', new TextEncoder().encode(text));

test.each([
  '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
  '\uFEFF<?xml version="1.0"?>\n<!-- one - or --two -->\n<!----> <s3:ListBucketResult>',
])('%s begins a list', (text) => {
  expect(status(text)).toBe(200);
});

test('an error is none, whatever stands before it', () => {
  expect(status('<!-- <ListBucketResult> --><Error><Code>NoSuchBucket</Code></Error>')).toBe(404);
});

test('any number of remarks with nothing behind them is read at once', () => {
  expect(() => status('<!---->'.repeat(9000))).toThrow('no XML came');
});
