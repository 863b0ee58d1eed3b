/** What a stage's own settings come to over the pipeline's and the defaults. */
import { expect, test } from '@jest/globals';
import type { PipelineInput, StageSpec } from '../../src/pipeline/contract.ts';
import { onErrorOf, policyOf, stallOf } from '../../src/pipeline/policy.ts';

const policy = (stage: Partial<StageSpec> = {}, pipeline: Partial<PipelineInput> = {}) =>
  policyOf({ stages: [], ...pipeline }, { type: 'source.local', ...stage });

test('defaults: three attempts, a second, doubled; five minutes, for a sink a day', () => {
  expect(policy()).toEqual({ timeout: 300_000, maximumAttempts: 3, initialInterval: 1000, backoffCoefficient: 2 });
  expect(policy({ type: 'sink.publish' }).timeout).toBe(24 * 3600_000);
});

test.each<[string, Partial<StageSpec>, Partial<PipelineInput>, number | undefined, number]>([
  ['nothing said', {}, {}, undefined, 24 * 3600_000],
  ['the pipeline', {}, { timeout: 20 }, 20, 24 * 3600_000],
  ["the stage's before the pipeline's", { timeout: 5 }, { timeout: 20 }, 5, 24 * 3600_000],
  ['longer than a day', { timeout: 7 * 24 * 3600 }, {}, 7 * 24 * 3600, 7 * 24 * 3600_000],
])('a download is bounded by its stalls: %s', (_name, stage, pipeline, stall, timeout) => {
  const download = { type: 'source.http', ...stage };
  expect(stallOf({ stages: [], ...pipeline }, download)).toBe(stall);
  expect(policy(download, pipeline).timeout).toBe(timeout);
  expect(stallOf({ stages: [], ...pipeline }, { ...download, type: 'source.s3' })).toBeUndefined();
});

test.each<[string, Partial<StageSpec>, Partial<PipelineInput>, number]>([
  ['the pipeline', {}, { max_retries: 5 }, 5],
  ["the pipeline's retry before its max_retries", {}, { max_retries: 5, retry: { maximum_attempts: 6 } }, 6],
  ["the stage's max_retries before the pipeline's retry", { max_retries: 2 }, { retry: { maximum_attempts: 6 } }, 2],
  ["the stage's retry before its max_retries", { max_retries: 2, retry: { maximum_attempts: 4 } }, {}, 4],
])('attempts: %s', (_name, stage, pipeline, attempts) => {
  expect(policy(stage, pipeline).maximumAttempts).toBe(attempts);
});

test('retry: what the stage leaves out comes from the pipeline', () => {
  const found = policy({ retry: { backoff: 1 } }, { timeout: 20, retry: { initial_interval: 0.5, backoff: 3, maximum_interval: 60 } });
  expect(found).toEqual({ timeout: 20_000, maximumAttempts: 3, initialInterval: 500, backoffCoefficient: 1, maximumInterval: 60_000 });
});

test("a stage's first wait above the pipeline's longest is the longest, too: the server would refuse anything else", () => {
  expect(policy({ retry: { initial_interval: 90 } }, { retry: { maximum_interval: 60 } }).maximumInterval).toBe(90_000);
});

test.each<[Partial<StageSpec>, Partial<PipelineInput>, string]>([
  [{}, {}, 'fail'],
  [{}, { continue_on_error: true }, 'continue'],
  [{}, { on_error: 'wait' }, 'wait'],
  [{ on_error: 'fail' }, { on_error: 'wait' }, 'fail'],
  [{ continue_on_error: false }, { on_error: 'wait' }, 'fail'],
  [{ continue_on_error: true }, { on_error: 'wait' }, 'continue'],
])('on_error of %j in %j: %s', (stage, pipeline, expected) => {
  expect(onErrorOf({ stages: [], ...pipeline }, { type: 'x', ...stage })).toBe(expected);
});
