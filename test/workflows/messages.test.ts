/**
 * An answer that turns out to be wrong when nobody waits for it any more. Workers hand the end of a run and that of a check over
 * together now and then only, so here a test says when which of them comes.
 */
import { expect, jest, test } from '@jest/globals';
import type { ApplicationFailure } from '@temporalio/workflow';
import type { Resolution, StageSpec, Waiting } from '../../src/pipeline/contract.ts';

let resolve: (given: Resolution) => Promise<unknown>;
let cancel: (reason: Error) => void;
let refuse: (reason: Error) => void;

const actual = await import('@temporalio/workflow');
jest.unstable_mockModule('@temporalio/workflow', () => ({
  ...actual,
  setHandler: (_: unknown, handler: typeof resolve) => void (resolve = handler),
  // The first is the question's, which the end of the run rejects; the other waits for the check, as the test does.
  condition: jest
    .fn()
    .mockImplementationOnce(() => new Promise((_, reject) => (cancel = reject)))
    .mockImplementation(async () => undefined),
  CancellationScope: { nonCancellable: (act: () => unknown) => act() },
}));
jest.unstable_mockModule('../../workflows/proxies.js', () => ({
  checkOptions: () => new Promise((_, reject) => (refuse = reject)),
}));
const { takeQuestions } = await import('../../workflows/messages.ts');

test('a run that was cancelled meanwhile waits for nothing', async () => {
  const stage: StageSpec = { type: 'source.local', path: '/late.ckpt' };
  const waiting: Waiting = {
    stage: { index: 0, type: 'source.local' },
    error: { type: 'CheckpointNotFoundError', message: 'none', details: {} },
    since: new Date(0).toISOString(),
    options: ['retry'],
    refused: null,
  };
  const questions = takeQuestions(() => undefined);
  const asked = questions.ask(stage, waiting);
  const answered = resolve({ action: 'retry', options: { path: '/other.ckpt' } });
  expect(questions.open()).toBe(waiting);
  cancel(new Error('cancelled'));
  await expect(asked).rejects.toThrow('cancelled');
  refuse(new Error('no such option'));
  await expect(answered).rejects.toMatchObject({ message: 'no such option' } satisfies Partial<ApplicationFailure>);
  expect(questions.open()).toBeNull();
});
