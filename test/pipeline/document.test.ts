import { describe, expect, test } from '@jest/globals';
import { checkDocument, optionsOf } from '../../src/pipeline/document.ts';

function configPathOf(document: unknown): unknown {
  try {
    checkDocument(document);
    return 'accepted';
  } catch (error) {
    expect((error as { code: string }).code).toBe('CheckpointConfigError');
    return (error as { details: Record<string, unknown> }).details['config_path'];
  }
}

describe('checkDocument', () => {
  test.each<[unknown, unknown]>([
    [{ stages: [{ type: 'source.local', path: '/x' }] }, 'accepted'],
    [{ stages: [] }, 'accepted'],
    [null, ''],
    [[], ''],
    [{}, 'stages'],
    [{ stages: {} }, 'stages'],
    [{ stages: ['source.local'] }, 'stages[0]'],
    [{ stages: [{ path: '/x' }] }, 'stages[0].type'],
    [{ stages: [], retries: 3 }, 'retries'],
    [{ stages: [], max_retries: 0 }, 'max_retries'],
    [{ stages: [], max_retries: 1.5 }, 'max_retries'],
    [{ stages: [{ type: 'x', timeout: -1 }] }, 'stages[0].timeout'],
    [{ stages: [], continue_on_error: 'yes' }, 'continue_on_error'],
    [{ stages: [{ type: 'x', retry: { maximum_attempts: 3, initial_interval: 0.1, backoff: 1, maximum_interval: 9 } }] }, 'accepted'],
    [{ stages: [], retry: 3 }, 'retry'],
    [{ stages: [{ type: 'x', retry: { attempts: 3 } }] }, 'stages[0].retry.attempts'],
    [{ stages: [{ type: 'x' }, { type: 'x', retry: { maximum_attempts: 0 } }] }, 'stages[1].retry.maximum_attempts'],
    [{ stages: [], retry: { initial_interval: 0 } }, 'retry.initial_interval'],
    [{ stages: [], retry: { backoff: 0.5 } }, 'retry.backoff'],
    [{ stages: [], retry: { initial_interval: 5, maximum_interval: 4 } }, 'retry.maximum_interval'],
    [{ stages: [], retry: { maximum_interval: 0.5 } }, 'retry.maximum_interval'],
    [{ stages: [], timeout: 1e12 }, 'timeout'],
    [{ stages: [], on_error: 'wait', async_execution: false }, 'accepted'],
    [{ stages: [], on_error: 'ask' }, 'on_error'],
    [{ stages: [], on_error: { toString: 1 } }, 'on_error'],
    [{ stages: [{ type: 'x', on_error: true }] }, 'stages[0].on_error'],
    [{ stages: [{ type: 'x', on_error: 'continue', continue_on_error: true }] }, 'accepted'],
    [{ stages: [{ type: 'x', on_error: 'wait', continue_on_error: true }] }, 'stages[0].continue_on_error'],
    [{ stages: [], async_execution: 'yes' }, 'async_execution'],
    [{ stages: [], name: `${'模'.repeat(166)}ok` }, 'accepted'],
    [{ stages: [], name: '模'.repeat(167) }, 'name'],
    [{ stages: [], name: 'two\nlines' }, 'name'],
    [{ stages: [], name: 'a\u001b[31m' }, 'name'],
    [{ stages: [], name: 'half \ud800' }, 'name'],
    [{ stages: [], name: '名前 🚀' }, 'accepted'],
  ])('%j → %s', (document, path) => {
    expect(configPathOf(document)).toBe(path);
  });
});

test('more stages than a run can bear are refused, with both numbers', () => {
  const stages = (count: number): unknown => ({ stages: Array.from({ length: count }, () => ({ type: 'x' })) });
  expect(configPathOf(stages(100))).toBe('accepted');
  expect(configPathOf(stages(101))).toBe('stages');
  expect(() => checkDocument(stages(20_003))).toThrow('has 20003 stages, at most 100');
});

test.each<[unknown, string]>([
  [{ stages: {} }, 'got a mapping.'],
  [{ stages: [{ type: {} }] }, 'got a mapping.'],
  [{ stages: 'none' }, 'got a text.'],
  [{ stages: [[]] }, 'got a list.'],
  [{}, 'got nothing.'],
  [{ stages: [], name: 12.5 }, '`name` must be a text; got a number. Write it in quotes.'],
  [{ stages: [], name: true }, '`name` must be a text; got a boolean. Write it in quotes.'],
  [{ stages: [], report: 1 }, '`report` must be true or false; got a number.'],
  [7, 'not a number.'],
])('%j: what was given is named', (document, words) => {
  expect(() => checkDocument(document)).toThrow(words);
});

test('optionsOf leaves the controls out', () => {
  expect(
    optionsOf({ type: 'sink.publish', uri: '/x', timeout: 3, max_retries: 2, continue_on_error: true, on_error: 'wait', retry: {} }),
  ).toEqual({ uri: '/x' });
});
