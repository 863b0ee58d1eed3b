/** What people read of a run that has ended. */
import { expect, test } from '@jest/globals';
import { errorText, resultText } from '../../../src/app/cli/output.ts';
import { indented } from '../../../src/app/cli/wrap.ts';
import type { PipelineResult } from '../../../src/pipeline/contract.ts';

const plain = (_color: string, text: string): string => text;
const RESULT: PipelineResult = {
  workflow_id: 'scrub-1',
  run_id: 'r',
  status: 'completed',
  stages: [
    {
      index: 0,
      type: 'loader.transfer_learning',
      status: 'completed',
      attempts: 1,
      started: null,
      ended: null,
      summary: '2 of 23 tensors transferred',
      error: null,
      tries: [],
    },
  ],
  outputs: [],
  metadata: {
    skipped_params: { 'head.weight': 'shape_mismatch: [2], target [3]', old: 'not_in_target' },
    num_skipped: 21,
    dropped: [
      { what: 'optimizer_states', reason: 'weights only' },
      { what: 'hyper_parameters.hook', reason: 'a callable' },
    ],
    warnings: ['There is no submodule encodr to freeze.'],
  },
  error: null,
  waiting: null,
};

test('what was left out and why, and the warnings', () => {
  expect(resultText(RESULT, 'http://ui', plain, Infinity).split('\n')).toEqual([
    'Pipeline scrub-1: completed',
    '  ✔ loader.transfer_learning  completed  2 of 23 tensors transferred',
    '',
    'Not taken from the source',
    '  head.weight (shape_mismatch: [2], target [3])',
    '  old (not_in_target)',
    '  and 19 tensors more, see the manifest',
    '',
    'Left out',
    '  hyper_parameters.hook (a callable)',
    '',
    'Warnings',
    '  There is no submodule encodr to freeze.',
    '',
    'Run in the Temporal UI: http://ui',
  ]);
});

test('a report that was not written is told where its place would be', () => {
  const output = { uri: 'file:///o', format: 'safetensors', size: 8, tensors: 1, manifest: 'file:///o.manifest.json', unchanged: false };
  const text = resultText({ ...RESULT, outputs: [output], metadata: { report_error: 'ENOSPC: no space' } }, 'http://ui', plain, Infinity);
  expect(text.split('\n').slice(2)).toEqual([
    '',
    'Published  file:///o',
    '  1 tensor, 8 B, safetensors',
    '  manifest file:///o.manifest.json',
    '  no report: ENOSPC: no space',
    '',
    'Run in the Temporal UI: http://ui',
  ]);
});

test('how far a run is, and what it tries again', () => {
  const going = { ...RESULT, status: 'running' as const, metadata: {}, stages: [] };
  const retrying = { activity: 'sink.publish', attempt: 3, error: 'the store\nis away' };
  expect(resultText({ ...going, transfer: { offset: 512, size: 2048 }, retrying }, null, plain, Infinity).split('\n')).toEqual([
    'Pipeline scrub-1: running',
    '  25%  512 B of 2.00 KiB',
    '  retrying sink.publish (attempt 3): the store is away',
  ]);
});

test('nothing to say, nothing said', () => {
  expect(resultText({ ...RESULT, metadata: {} }, null, plain, Infinity).split('\n')).toHaveLength(2);
});

test('whatever others have named stays in its line, without colours of its own', () => {
  const hostile = 'x\u001b[32m\nPipeline fine-1: completed';
  const output = {
    uri: hostile,
    tensors: 1,
    size: 2,
    format: hostile,
    sha256: hostile,
    manifest: hostile,
    report: hostile,
    unchanged: false,
  };
  const stage = { ...RESULT.stages[0]!, type: hostile, summary: hostile };
  const text = resultText({ ...RESULT, workflow_id: hostile, stages: [stage], outputs: [output as never] }, null, plain, Infinity);
  expect(text.split('\n').filter((line) => line.startsWith('Pipeline'))).toEqual([
    `Pipeline x\\x1b[32m\\nPipeline fine-1: completed: completed`,
  ]);
  expect(text).not.toContain('\u001b');
  const details = { pipeline_stage: hostile, suggestion: hostile, validation_errors: [hostile] };
  const error = errorText({ type: hostile, message: hostile, details }, plain);
  expect(error.split('\n')).toHaveLength(5);
  expect(error).not.toContain('\u001b');
});

test('a narrow terminal: words go on under their column, and no line is longer', () => {
  const lines = resultText(RESULT, null, plain, 75).split('\n');
  expect(lines.slice(1, 3)).toEqual(['  ✔ loader.transfer_learning  completed  2 of 23 tensors transferred', '']);
  const summary = Array.from({ length: 30 }, (_, index) => `word${index}`).join(' ');
  const long = resultText({ ...RESULT, stages: [{ ...RESULT.stages[0]!, summary }], metadata: {} }, null, plain, 80).split('\n');
  expect(Math.max(...long.map(({ length }) => length))).toBeLessThanOrEqual(80);
  expect(long[2]).toMatch(/^ {41}word/);
  expect(indented('a b c', 2, 10)).toBe('  a b c');
});
