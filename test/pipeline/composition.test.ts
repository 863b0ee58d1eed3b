import { describe, expect, test } from '@jest/globals';
import type { JsonObject } from '../../src/errors.ts';
import { advise, adviseComposition, adviseOutputs } from '../../src/pipeline/composition.ts';
import type { StageSpec } from '../../src/pipeline/contract.ts';

const LETTERS: Readonly<Record<string, string>> = {
  s: 'source.local',
  S: 'source.http',
  w: 'loader.weights_only',
  t: 'loader.transfer_learning',
  f: 'modifier.freezing',
  p: 'sink.publish',
};

test.each<[string, readonly string[]]>([
  ['', ['no_stages []']],
  ['swfp', []],
  ['swffp', []],
  ['wsp', ['source_after_loader [1,0]']],
  ['sfwp', ['modifier_before_loader [1,2]']],
  ['swfSp', ['source_after_loader [3,1]', 'source_after_modifier [3,2]']],
  ['spw', ['sink_before_loader [1,2]', 'stage_after_last_sink [2]']],
  ['swpf', ['stage_after_last_sink [3]']],
  ['swwp', ['duplicate_loader [1,2]']],
  ['sswp', ['duplicate_source [0,1]']],
  ['swtp', ['loaders_without_source_between [1,2]']],
  ['swStp', ['source_after_loader [2,1]']],
  ['wp', ['missing_source [0]']],
  ['s', ['missing_loader [0]']],
  ['sw', ['missing_sink [1]']],
  ['ff', ['modifiers_only [0,1]']],
])('%j → %j', (letters, expected) => {
  const found = adviseComposition([...letters].map((letter) => ({ type: LETTERS[letter]! })));
  expect(found.map(({ code, positions }) => `${code} ${JSON.stringify(positions)}`)).toEqual(expected);
});

test('an order finding names both stages, a duplicate its type and count', () => {
  const [order] = adviseComposition([{ type: 'loader.cold_start' }, { type: 'source.s3' }, { type: 'sink.publish' }]);
  expect(order!.message).toMatch(/source\.s3 \(stages\[1\]\).*loader\.cold_start \(stages\[0\]\)/);
  const [twice] = adviseComposition([
    { type: 'source.s3' },
    { type: 'source.s3' },
    { type: 'loader.cold_start' },
    { type: 'sink.publish' },
  ]);
  expect(twice!.message).toContain('source.s3 is there 2 times');
});

describe('outputs', () => {
  const codes = (...stages: readonly StageSpec[]) =>
    adviseOutputs(stages).map(({ code, positions }) => `${code} ${JSON.stringify(positions)}`);
  const publish = (uri: string, more: JsonObject = {}): StageSpec => ({ type: 'sink.publish', uri, ...more });
  const weights: StageSpec = { type: 'loader.weights_only' };
  const warm: StageSpec = { type: 'loader.warm_start' };

  test.each<[string, JsonObject, boolean]>([
    ['last.ckpt', {}, true],
    ['a.pt', {}, true],
    ['a.safetensors', { format: 'pytorch' }, true],
    ['a.ckpt', { format: 'state_dict' }, true],
    ['a.ckpt', { format: 'lightning' }, false],
    ['a.bin', { format: 'state_dict' }, false],
    ['a.safetensors', {}, false],
    ['v1.5/model', {}, false],
    ['a.onnx', {}, true],
    ['a.onnx', { format: 'safetensors' }, false],
    ['${item.key}', {}, false],
  ])('%s with %j: another format than its name says? %s', (uri, options, isFound) => {
    expect(codes(weights, publish(uri, options))).toEqual(isFound ? ['format_unlike_name [1]'] : []);
  });

  test('training state that is kept and has no place in the file', () => {
    expect(codes(warm, publish('a.safetensors'))).toEqual(['training_state_not_written [0,1]']);
    expect(codes(warm, publish('a.ckpt'))).toEqual(['format_unlike_name [1]', 'training_state_not_written [0,1]']);
    expect(codes(warm, publish('a.ckpt', { format: 'lightning' }))).toEqual([]);
    expect(codes(warm, publish('a.safetensors', { training_state: false }))).toEqual([]);
    expect(codes(warm, { type: 'modifier.drop_training_state' }, publish('a.safetensors'))).toEqual([]);
  });

  test('both are part of what is advised before a run', () => {
    expect(advise([warm, publish('a.ckpt')]).map(({ code }) => code)).toEqual(
      expect.arrayContaining(['format_unlike_name', 'training_state_not_written']),
    );
  });
});

test.each<[JsonObject, readonly string[]]>([
  [{}, ['no_checksum']],
  [{ expected_checksum: '5'.repeat(64) }, []],
])('a file from a web server with %j: %j', (more, expected) => {
  const stages = [{ type: 'source.http', url: 'https://models.test/a.pt', ...more }, { type: 'loader.weights_only' }];
  expect(advise(stages).flatMap(({ code, level }) => (level === 'warning' ? [code] : []))).toEqual(expected);
});

test('only a loader that needs no target is said to take all where it has none', () => {
  const loaders: readonly StageSpec[] = [
    { type: 'loader.transfer_learning' },
    { type: 'loader.weights_only', strict: true },
    { type: 'loader.cold_start', fill: 'target' },
    { type: 'loader.weights_only' },
    { type: 'loader.transfer_learning', target: 't.pt' },
  ];
  const found = advise(loaders).filter(({ code }) => code === 'no_target');
  expect(found.map(({ level, positions }) => [level, positions])).toEqual([['info', [3]]]);
});
