import { expect, test } from '@jest/globals';
import { EMPTY_CONTEXT } from '../../src/model/context.ts';
import type { StageSpec } from '../../src/pipeline/contract.ts';
import { newHistory, withRecord } from '../../src/pipeline/history.ts';
import { stageAim } from '../../src/pipeline/stage-aim.ts';

const READ = withRecord(newHistory({ stages: [{ type: 'source.s3' }] }), 0, {
  status: 'completed',
  summary: 'lightning in zip: 196 tensors, 646 MiB of 1.90 GiB',
});
const PLANNED = { ...EMPTY_CONTEXT, planned: { tensors: 194, bytes: 646 * 2 ** 20 } };

test.each<[string, StageSpec, string]>([
  ['a source: the file', { type: 'source.s3', url: 's3://bucket/run/last.ckpt' }, 'last.ckpt'],
  ['a URL without its query', { type: 'source.http', url: 'https://host/a/last.ckpt?x=1' }, 'last.ckpt'],
  ['a loader: what was read', { type: 'loader.weights_only' }, 'lightning in zip: 196 tensors, 646 MiB'],
  ['… and what it must fit', { type: 'loader.warm_start', target: '/m/fresh.pt' }, 'lightning in zip: 196 tensors, 646 MiB → fresh.pt'],
  [
    '… also a spec',
    { type: 'loader.warm_start', target: { w: { shape: [1], dtype: 'F32' } } },
    'lightning in zip: 196 tensors, 646 MiB → a spec of 1 tensor',
  ],
  ['freezing: which modules', { type: 'modifier.freezing', submodules_to_freeze: ['model.a', 'model.b'] }, 'model.a, model.b'],
  ['cast: to what', { type: 'modifier.cast', dtype: 'BF16', max_retries: 2 }, 'BF16'],
  ['rename: the rules', { type: 'modifier.rename', rules: [{ pattern: '^model.', replacement: 'net.' }] }, '^model. → net.'],
  ['select: both lists', { type: 'modifier.select', include: ['a.*'], exclude: ['*.b'] }, 'include: a.*; exclude: *.b'],
  ['nothing to say', { type: 'modifier.drop_training_state' }, 'modifier.drop_training_state'],
  ['a sink: how much, and where to', { type: 'sink.publish', uri: 's3://b/out/w.safetensors' }, '194 tensors, 646 MiB → w.safetensors'],
])('%s', (_name, stage, aim) => {
  expect(stageAim(stage, PLANNED, READ)).toBe(aim);
});

test('it is one short line', () => {
  expect(stageAim({ type: 'modifier.select', include: Array.from({ length: 99 }, () => 'x'.repeat(99)) }, PLANNED, [])).toHaveLength(100);
});
