/** What people read of a run in the Temporal UI. */
import { expect, test } from '@jest/globals';
import type { StageRecord } from '../../src/pipeline/contract.ts';
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
