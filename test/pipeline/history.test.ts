/** What people read of a run in the Temporal UI. */
import { expect, test } from '@jest/globals';
import type { StageRecord, Waiting } from '../../src/pipeline/contract.ts';
import { historyTable } from '../../src/pipeline/history.ts';
import { startDetails } from '../../src/pipeline/start-details.ts';

const record = (index: number, more: Partial<StageRecord>): StageRecord => ({
  index,
  type: 'source.local',
  status: 'pending',
  attempts: 0,
  started: null,
  ended: null,
  tries: [],
  summary: null,
  error: null,
  ...more,
});

/** As it is read: no-break spaces are the UI's padding. */
const lines = (text: string): readonly string[] => text.replaceAll('\u00a0', '').split('\n');

test('the stage table is short; what stages say stands below it', () => {
  const table = historyTable([
    record(0, { status: 'completed', attempts: 2, summary: 'lightning in zip: 5 tensors' }),
    record(1, { status: 'failed', attempts: 3, error: { type: 'CheckpointSourceError', message: 'the disk\nis away', details: {} } }),
    record(2, {}),
  ]);
  expect(lines(table)).toEqual([
    '| # | stage | status |',
    '|:---|:---|:---|',
    '| 1 | `source.local` | ✔ completed at attempt 2 |',
    '| 2 | `source.local` | ✖ failed after 3 attempts |',
    '| 3 | `source.local` | · pending |',
    '',
    '1. lightning in zip: 5 tensors',
    '2. the disk is away',
  ]);
});

test('an open question stands first: what failed, what to do about it, and the answers as they are sent', () => {
  const waiting: Waiting = {
    stage: { index: 0, type: 'source.local' },
    error: { type: 'CheckpointNotFoundError', message: 'There is no file a_b.ckpt.', details: { suggestion: 'Check `path`.' } },
    since: '2026-11-25T22:36:37.840Z',
    options: ['retry', 'skip', 'abort'],
    refused: { type: 'CheckpointConfigError', message: 'no option pth', details: {} },
  };
  const text = lines(historyTable([record(0, { status: 'waiting' })], waiting));
  expect(text.filter((line) => line !== '').slice(0, 7)).toEqual([
    '**Waits for an answer** since 2026-11-25 22:36:37 UTC: stage 1, `source.local`, failed. There is no file a_b.ckpt.',
    'Check `path`.',
    expect.stringContaining('`resolve_failure`'),
    expect.stringMatching(/^1\. `\{"action":"retry"\}` tries/),
    expect.stringMatching(/^2\. `\{"action":"skip"\}` goes on/),
    expect.stringMatching(/^3\. `\{"action":"abort"\}` ends/),
    'The last answer was not taken: no option pth',
  ]);
  expect(text).toContain('| 1 | `source.local` | ? waiting |');
});

test('names in a message are shown and not read as Markdown or HTML', () => {
  const message = 'odd <img src=x onerror=alert(1)> [a](http://b) `c` *d* __init__ weights_only a|b ~~e~~';
  const table = historyTable([record(0, { status: 'failed', attempts: 1, error: { type: 'CheckpointLoadError', message, details: {} } })]);
  expect(lines(table).at(-1)).toBe(
    String.raw`1. odd \<img src=x onerror=alert(1)\> \[a\](http://b) \`c\` \*d\* \_\_init\_\_ weights_only a\|b \~\~e\~\~`,
  );
});

test('a long message is cut', () => {
  const error = { type: 'CheckpointLoadError', message: 'x'.repeat(100_000), details: {} };
  expect(historyTable([record(0, { status: 'failed', attempts: 1, error })]).length).toBeLessThan(500);
});

test('the start says each stage with its options, and no controls', () => {
  const details = startDetails({
    stages: [
      { type: 'source.local', path: '/data/__last__.ckpt', timeout: 10 },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: '/data/out.safetensors', labels: { a: [1, '*'] } },
    ],
  });
  expect(details.split('\n')).toEqual([
    String.raw`1. ${'`source.local`'} path: /data/\_\_last\_\_.ckpt`,
    '2. `loader.weights_only`',
    String.raw`3. ${'`sink.publish`'} uri: /data/out.safetensors; labels: {"a":\[1,"\*"\]}`,
  ]);
});
