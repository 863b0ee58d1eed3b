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
  ])('%j → %s', (document, path) => {
    expect(configPathOf(document)).toBe(path);
  });
});

test('optionsOf leaves the controls out', () => {
  expect(optionsOf({ type: 'sink.publish', uri: '/x', timeout: 3, max_retries: 2, continue_on_error: true })).toEqual({ uri: '/x' });
});
