/** What a run says of itself fits into a payload of Temporal, whatever its stages have come to. */
import { expect, test } from '@jest/globals';
import type { ErrorReport } from '../../src/errors.ts';
import type { PipelineResult, Problem, StageRecord } from '../../src/pipeline/contract.ts';
import { fittedProblems, fittedResult, jsonBytes } from '../../src/pipeline/payload.ts';

/** Temporal refuses a payload of 2 MiB; a failure takes an error along. */
const ROOM = 1.5 * 2 ** 20;
const NULLS = { started: null, ended: null, summary: null };

function errorOf(characters: number): ErrorReport {
  return {
    type: 'CheckpointNotFoundError',
    message: '長'.repeat(characters),
    details: { reason: 'gone', path: '長'.repeat(characters), attempts: 1 },
  };
}

function resultOf(stages: number, characters: number, tries = 0): PipelineResult {
  const attempts = Array.from({ length: 8 }, (_, index) => ({
    attempt: index,
    started: null,
    ended: null,
    outcome: 'failed' as const,
    error: errorOf(300),
  }));
  const records = Array.from({ length: stages }, (_, index): StageRecord => ({
    ...NULLS,
    index,
    type: 'source.local',
    status: 'failed',
    attempts: 1,
    error: errorOf(characters),
    tries: Array.from({ length: tries }, () => ({
      ...NULLS,
      started: '',
      outcome: 'failed' as const,
      changed: { path: '長'.repeat(3000) },
      attempts,
    })),
  }));
  const more = { outputs: [], metadata: {}, waiting: null };
  return { workflow_id: 'w', run_id: 'r', status: 'failed', stages: records, error: errorOf(characters), ...more };
}

test.each([
  ['a hundred stages that failed for long paths', 100, 10_000, 0],
  ['and were tried again and again', 100, 10_000, 5],
])('%s', (_, stages, characters, tries) => {
  const result = resultOf(stages, characters, tries);
  expect(jsonBytes(result)).toBeGreaterThan(2 * 2 ** 20);
  const fitted = fittedResult(result);
  expect(jsonBytes(fitted)).toBeLessThan(ROOM);
  expect(fitted.stages.map(({ index, status }) => [index, status])).toEqual(result.stages.map(({ index, status }) => [index, status]));
  expect(fitted.stages[7]!.error).toMatchObject({ type: 'CheckpointNotFoundError', details: { reason: 'gone', attempts: 1 } });
  expect(fitted.stages[7]!.error!.message).toMatch(/^長{500} …$/);
});

test('what fits stays as it is', () => {
  const result = resultOf(3, 1000, 1);
  expect(fittedResult(result)).toBe(result);
});

test('fifty problems of a preflight', () => {
  const problems = Array.from({ length: 50 }, (_, stage): Problem => ({
    path: 'p',
    stage,
    kind: 'place',
    transient: false,
    error: errorOf(9000),
  }));
  const fitted = fittedProblems(problems);
  expect(jsonBytes(fitted)).toBeLessThan(2 ** 20);
  expect(fitted).toHaveLength(50);
  expect(fittedProblems(problems.slice(0, 2))[1]!.error.message).toBe(problems[1]!.error.message);
});
