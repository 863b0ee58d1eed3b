import { expect, test } from '@jest/globals';
import { packContents, unpackContents } from '../../src/report/packed.ts';
import { batchOf, many, runOf, transformer } from '../support/reports.ts';

test.each([
  ['a run', runOf(transformer())],
  ['a run of many tensors', runOf(many(2000))],
  ['a run without tensors', { ...runOf(transformer()), tensors: null }],
  ['a batch', batchOf(20)],
])('%s is unpacked as it was packed', (_, contents) => {
  const { packed, digests } = packContents(contents);
  expect(unpackContents(JSON.parse(JSON.stringify(packed)), Buffer.from(digests, 'hex'))).toEqual(contents);
});
