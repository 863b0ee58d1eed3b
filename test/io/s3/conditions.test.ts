/** What is made of a write whose condition did not hold, by what is there afterwards. */
import { expect, test } from '@jest/globals';
import type { Overwrite } from '../../../src/io/publish/overwrite.ts';
import { RETRY } from '../../../src/io/retry.ts';
import { conditionally, markOf } from '../../../src/io/s3/conditions.ts';
import type { S3Port, WriteCondition } from '../../../src/io/s3/port.ts';
import { StoreFault } from '../../../src/io/store-fault.ts';

const OWN = { token: 'token', content: 'cafe'.repeat(16) };
const fault = (status: number, code: string): StoreFault => new StoreFault(code, { code, status, retryable: false });
const REMOVED = fault(404, 'NoSuchKey');
const CONFLICT = fault(409, 'ConditionalRequestConflict');
const REPLACED = fault(412, 'PreconditionFailed');

/** The conditions on which was written, and what came of it; `answers` one after another, then it is written. */
async function outcome(
  condition: WriteCondition,
  answers: readonly StoreFault[],
  met: { readonly etag: string; readonly mark?: string } | null,
  overwrite: Overwrite = 'if_changed',
): Promise<unknown> {
  const asked: WriteCondition[] = [];
  // What is used of a store here.
  const port = {
    head: async () => {
      if (met === null) throw fault(404, 'NotFound');
      return { size: 1, versionId: null, mark: null, sha256: null, ...met };
    },
  } as unknown as S3Port;
  const written = { port, policy: RETRY, signal: new AbortController().signal, uri: 's3://b/k', overwrite, ...OWN };
  const write = async (on: WriteCondition): Promise<string> => {
    asked.push(on);
    const answer = answers[asked.length - 1];
    if (answer !== undefined) throw answer;
    return 'written';
  };
  const etag = await conditionally(written, { bucket: 'b', key: 'k' }, condition, write).catch((error: unknown) => error);
  return etag instanceof Error ? etag : [etag, asked.map(({ kind }) => kind)];
}

const MATCH: WriteCondition = { kind: 'match', etag: '"old"' };

test.each([
  ['removed', REMOVED],
  ['removed, as some stores say it', REPLACED],
  ['removed at the same time', CONFLICT],
])('%s meanwhile: written where nothing is', async (_, answer) => {
  expect(await outcome(MATCH, [answer], null)).toEqual(['written', ['match', 'none']]);
  expect(await outcome(MATCH, [answer], null, 'never')).toEqual(['written', ['match', 'none']]);
});

test.each([
  ['removed and removed again', MATCH, [REMOVED, REPLACED], null, /was removed while/],
  ['a conflict where nothing is', { kind: 'none' }, [CONFLICT], null, /reports a conflict .*ConditionalRequestConflict/],
  ['a conflict, and all is as it was', MATCH, [CONFLICT], { etag: '"old"' }, /reports a conflict/],
  ['a conflict where anything may be', { kind: 'any' }, [CONFLICT], { etag: '"other"' }, /reports a conflict/],
] as const)('%s: tried again', async (_, condition, answers, met, text) => {
  const error = await outcome(condition, answers, met);
  expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: true, message: expect.stringMatching(text) });
});

test.each([
  ['replaced', MATCH, REPLACED],
  ['replaced at the same time', MATCH, CONFLICT],
  ['written first', { kind: 'none' }, REPLACED],
] as const)('%s by another: theirs is kept', async (_, condition, answer) => {
  expect(await outcome(condition, [answer], { etag: '"theirs"' })).toMatchObject({
    retryable: false,
    details: { reason: 'concurrent_write' },
    message: expect.stringContaining('Another run or program has written s3://b/k'),
  });
  expect(await outcome(condition, [answer], { etag: '"theirs"' }, 'never')).toMatchObject({ details: { reason: 'exists' } });
});

test('a write whose answer was lost meets its own object', async () => {
  expect(await outcome({ kind: 'none' }, [REPLACED], { etag: '"own"', mark: markOf(OWN) })).toEqual(['"own"', ['none']]);
});
