/** Answers to a run that waits. */
import { expect, test } from '@jest/globals';
import { changedStage, checkResolution } from '../../src/pipeline/resolution.ts';

const pathOf = (act: () => unknown): unknown => {
  try {
    act();
    return 'accepted';
  } catch (error) {
    expect((error as { code: string }).code).toBe('CheckpointConfigError');
    return (error as { details: Record<string, unknown> }).details['config_path'];
  }
};

test.each<[string, unknown, unknown]>([
  ['retry', { action: 'retry' }, 'accepted'],
  ['retry with options', { action: 'retry', options: { path: '/x', nested: { list: [1, null, true, 'a'] } } }, 'accepted'],
  ['skip with none', { action: 'skip', options: {} }, 'accepted'],
  ['nothing', undefined, undefined],
  ['a list', [{ action: 'retry' }], undefined],
  ['an unknown action', { action: 'restart' }, 'action'],
  ['an unknown key', { action: 'retry', stage: 1 }, 'stage'],
  ['options that are bytes', { action: 'retry', options: new Uint8Array(3) }, 'options'],
  ['a date', { action: 'retry', options: { since: new Date(0) } }, 'options'],
  ['no number', { action: 'retry', options: { timeout: Number.NaN } }, 'options'],
  ['undefined', { action: 'retry', options: { timeout: undefined } }, 'options'],
  ['the type', { action: 'retry', options: { type: 'source.s3' } }, 'options.type'],
  ['options to abort', { action: 'abort', options: { path: '/x' } }, 'options'],
])('%s', (_name, given, path) => {
  expect(pathOf(() => checkResolution(given))).toBe(path);
});

test('options nested without end are refused, and the check ends', () => {
  const circle: Record<string, unknown> = {};
  circle['again'] = circle;
  expect(pathOf(() => checkResolution({ action: 'retry', options: circle }))).toBe('options');
});

test('changes are merged over the stage; null takes away; controls are checked', () => {
  const stage = { type: 'source.local', path: '/a', timeout: 3 };
  expect(changedStage(stage, { path: '/b', timeout: null, max_retries: 2 }, 1)).toEqual({
    type: 'source.local',
    path: '/b',
    max_retries: 2,
  });
  expect(pathOf(() => changedStage(stage, { retry: { attempts: 3 } }, 1))).toBe('stages[1].retry.attempts');
});
