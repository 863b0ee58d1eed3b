import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { CheckpointError } from '../../src/errors.ts';
import { understandDocument } from '../../src/pipeline/anemoi/document.ts';
import { ANEMOI_CLASSES } from '../../src/pipeline/stage-names.ts';
import { PROJECT_ROOT } from '../support/project.ts';

const TYPES = [
  'source.local',
  'source.s3',
  'source.http',
  'loader.weights_only',
  'loader.cold_start',
  'modifier.rename',
  'sink.publish',
  'modifier.publish_x',
];
const ROOT = 'anemoi.training.checkpoint';

function understand(document: unknown, parameters: Readonly<Record<string, string>> = {}) {
  return understandDocument(document, { types: TYPES, parameters });
}

function stagesOf(document: unknown, parameters: Readonly<Record<string, string>> = {}): readonly Record<string, unknown>[] {
  return (understand(document, parameters).document as { stages: Record<string, unknown>[] }).stages;
}

function errorOf(document: unknown, parameters: Readonly<Record<string, string>> = {}): CheckpointError {
  try {
    understand(document, parameters);
  } catch (error) {
    expect((error as CheckpointError).code).toBe('CheckpointConfigError');
    return error as CheckpointError;
  }
  throw new Error('it should have failed');
}

const pipeline = (...stages: readonly unknown[]): unknown => ({
  training: { checkpoint_pipeline: { stages } },
  checkpoint_path: '/c.ckpt',
});

describe('a class is known by its package and by its module', () => {
  const paths = Object.entries(ANEMOI_CLASSES).flatMap(([name, { type, modules }]) =>
    modules.map((module) => [`${ROOT}.${module}.${name}`, type] as const),
  );
  test.each(paths)('%s', (target, type) => {
    expect(stagesOf(pipeline({ _target_: target }))[0]).toMatchObject({ type });
  });
});

describe('a short name is its type', () => {
  const names = Object.entries(ANEMOI_CLASSES).flatMap(([className, { type, names }]) =>
    [className, ...names].map((name) => [name, type] as const),
  );
  test.each([...names, ['rename', 'modifier.rename'], ['publish', 'sink.publish'], ['modifier.rename', 'modifier.rename']] as const)(
    '%s',
    (name, type) => {
      expect(stagesOf({ stages: [{ type: name }], checkpoint_path: '/c' })[0]).toMatchObject({ type });
    },
  );
});

describe('forms of the document', () => {
  test('a pipeline, with settings and what has no effect', () => {
    const { document, notes, origins } = understand({
      training: {
        checkpoint_pipeline: {
          async_execution: true,
          cache_dir: null,
          continue_on_error: true,
          max_retries: 5,
          stages: [{ _target_: `${ROOT}.sources.HTTPSource`, url: 'http://h/x', max_retries: 2 }],
        },
        lr: 1e-3,
      },
      data: { anything: 1 },
    });
    expect(document).toEqual({
      continue_on_error: true,
      max_retries: 5,
      stages: [{ type: 'source.http', url: 'http://h/x', max_retries: 2 }],
    });
    expect(notes).toEqual([expect.stringContaining('async_execution')]);
    expect(origins).toEqual(['training.checkpoint_pipeline.stages[0]']);
  });
  test('blocks expand in the order source, loading, modifiers', () => {
    const { document, origins } = understand({
      training: {
        checkpoint: {
          modifiers: [{ type: 'freeze', layers: ['a'] }],
          loading: { _target_: `${ROOT}.loading.ColdStartLoader`, strict: true },
          source: { type: 'local', path: '/x' },
        },
      },
    });
    expect(document).toEqual({
      stages: [
        { type: 'source.local', path: '/x' },
        { type: 'loader.cold_start', strict: true },
        { type: 'modifier.freezing', layers: ['a'] },
      ],
    });
    expect(origins).toEqual(['training.checkpoint.source', 'training.checkpoint.loading', 'training.checkpoint.modifiers[0]']);
  });
  test('ours is left as it is', () => {
    const ours = { name: 'x', stages: [{ type: 'source.local', path: '/x', timeout: 3 }], unknown_key: 1 };
    expect(understand(ours)).toEqual({ document: ours, origins: ['stages[0]'], places: {}, notes: [], unread: [] });
    expect(understand({ name: 'x' }).document).toEqual({ name: 'x' });
    expect(understand([1]).document).toEqual([1]);
  });
  test('the run says where the checkpoint lies, what it must fit, and where to publish', () => {
    const stages = stagesOf(pipeline({ type: 'local' }, { type: 'weights_only' }, { type: 'cold_start', target: '/own' }), {
      target: '/t',
      output: '/o',
    });
    expect(stages).toEqual([
      { type: 'source.local', path: '/c.ckpt' },
      { type: 'loader.weights_only', target: '/t' },
      { type: 'loader.cold_start', target: '/own' },
      { type: 'sink.publish', uri: '/o' },
    ]);
  });
  test.each([
    ['out/resume.ckpt', 'lightning'],
    ['out/a.PT', 'pytorch'],
    ['a.pth', 'pytorch'],
    ['a.bin', 'pytorch'],
    ['a.safetensors', undefined],
    ['a', undefined],
  ])('an output %s is published as %s', (output, format) => {
    const publish = { type: 'sink.publish', uri: output, ...(format === undefined ? {} : { format }) };
    expect(stagesOf(pipeline({ type: 'local' }, { type: 'warm_start' }), { output }).at(-1)).toEqual(publish);
  });
  test('processor refresh flags go to the loaders', () => {
    const flags = { update_ds_stats_on_ckpt_load: { states: false, tendencies: true } };
    expect(stagesOf({ training: { ...flags, checkpoint: { loading: { type: 'weights_only' } } } })).toEqual([
      { type: 'loader.weights_only', refresh_tendencies: true },
    ]);
  });
});

describe('legacy keys', () => {
  test.each([
    ['a whole path before the run', { system: { input: { warm_start: '/ws/a.ckpt' } } }, '/ws/a.ckpt'],
    [
      'a file in the folder of warm starts before the run',
      { hardware: { paths: { checkpoints: '/ckpt', warm_start: '/ws/' }, files: { warm_start: 'a.ckpt' } } },
      '/ws/a.ckpt',
    ],
    ['an absolute file, too', { hardware: { paths: { checkpoints: '/ckpt' }, files: { warm_start: '/ws/a.ckpt' } } }, '/ws/a.ckpt'],
    [
      'a bare name in the folder of the run',
      { hardware: { paths: { checkpoints: '/ckpt/' }, files: { warm_start: 'a.ckpt' } } },
      '/ckpt/17/a.ckpt',
    ],
    ['what is said before all of them', { checkpoint_path: '/x.ckpt', hardware: { paths: { checkpoints: '/ckpt' } } }, '/x.ckpt'],
    ['which needs no folder of runs', { checkpoint_path: '/x.ckpt' }, '/x.ckpt'],
  ])('where a run begins: %s', (_name, others, path) => {
    const stages = stagesOf({ training: { run_id: 17 }, ...others });
    expect(stages).toEqual([{ type: 'source.local', path }, { type: 'loader.warm_start' }]);
  });

  test.each([
    [true, 'loader.weights_only'],
    ['yes', 'loader.weights_only'],
    ['True', 'loader.weights_only'],
    ['${flag}', 'loader.weights_only'],
    ['off', 'loader.warm_start'],
    [null, 'loader.warm_start'],
  ])('load_weights_only: %j is %s', (given, type) => {
    const document = { training: { run_id: 'abc', load_weights_only: given }, hardware: { paths: { checkpoints: '/ckpt' } } };
    const resolve = (text: string): string => (text === '${flag}' ? 'on' : text);
    const { stages } = understandDocument(document, { types: TYPES, parameters: {}, resolve }).document as { stages: { type: string }[] };
    expect(stages[1]!.type).toBe(type);
  });

  test.each([
    [{ load_weights_only: 'maybe', run_id: 'a' }, 'training.load_weights_only'],
    [{ load_weights_only: true, update_ds_stats_on_ckpt_load: true }, 'training.update_ds_stats_on_ckpt_load'],
    [{ load_weights_only: true, update_ds_stats_on_ckpt_load: { states: 2 } }, 'training.update_ds_stats_on_ckpt_load.states'],
  ])('%j: what is neither true nor false is not a guess', (training, path) => {
    const error = errorOf({ training, checkpoint_path: '/x.ckpt' });
    expect(error.code).toBe('CheckpointConfigError');
    expect(error.details['config_path']).toBe(path);
  });

  const hardware = { paths: { checkpoints: '/ckpt/' }, files: {} };
  test.each<[string, unknown, readonly string[]]>([
    ['load_weights_only', { load_weights_only: true }, ['source.local', 'loader.weights_only']],
    ['with transfer_learning', { load_weights_only: true, transfer_learning: true }, ['source.local', 'loader.transfer_learning']],
    ['run_id', { run_id: 'abc' }, ['source.local', 'loader.warm_start']],
    [
      'fork_run_id with freezing, last',
      { fork_run_id: 'abc', submodules_to_freeze: ['encoder'] },
      ['source.local', 'loader.warm_start', 'modifier.freezing'],
    ],
  ])('%s', (_name, training, types) => {
    expect(stagesOf({ training, hardware }, { checkpoint_path: '/p' }).map(({ type }) => type)).toEqual(types);
  });
  test('a run lies in its folder', () => {
    expect(stagesOf({ training: { run_id: 'abc' }, hardware })[0]).toEqual({ type: 'source.local', path: '/ckpt/abc/last.ckpt' });
    expect(stagesOf({ training: {}, hardware: { files: { warm_start: '/w.ckpt' } } })[0]).toEqual({
      type: 'source.local',
      path: '/w.ckpt',
    });
    expect(errorOf({ training: { run_id: 'abc' } }).details['config_path']).toBe('training.run_id');
  });
  test('freeze paths begin two levels below the Lightning module', () => {
    expect(stagesOf({ training: { run_id: 'a', submodules_to_freeze: ['encoder'] }, hardware })[2]).toEqual({
      type: 'modifier.freezing',
      submodules_to_freeze: ['encoder'],
      prefix: 'model.model.',
    });
  });
  test('transfer_learning alone does nothing, and nothing is not a pipeline', () => {
    expect(errorOf({ training: { transfer_learning: true } }).details['config_path']).toBe('training');
  });
});

describe('S3 by parts', () => {
  test.each<[unknown, unknown]>([
    [{ url: 's3://b/k' }, 's3://b/k'],
    [{ bucket: 'b', key: '/k/x' }, 's3://b/k/x'],
    [{ url: null }, 's3://root/key'],
    [{}, 's3://root/key'],
  ])('%j → %s', (options, url) => {
    expect(stagesOf({ stages: [{ type: 's3', ...(options as object) }], url: 's3://root/key' })[0]).toMatchObject({ url });
  });
  test.each([
    [{ url: 's3://b/k', bucket: 'b' }, 'stages[0].bucket'],
    [{ bucket: 'b' }, 'stages[0].key'],
    [{ key: 'k' }, 'stages[0].bucket'],
  ])('%j is refused at %s', (options, path) => {
    expect(errorOf({ stages: [{ type: 's3', ...options }] }).details['config_path']).toBe(path);
  });
});

describe('what is not understood', () => {
  test.each<[unknown, string, string]>([
    [pipeline({ _target_: `${ROOT}.sources.S3Sorce` }), 'training.checkpoint_pipeline.stages[0]._target_', '`S3Source`'],
    [pipeline({ _target_: `${ROOT}.source.S3Source` }), 'training.checkpoint_pipeline.stages[0]._target_', `${ROOT}.sources.S3Source`],
    [pipeline({ _target_: 'os.system', command: 'echo' }), 'training.checkpoint_pipeline.stages[0]._target_', 'never imported'],
    [pipeline({ _target_: 'S3Source' }), 'training.checkpoint_pipeline.stages[0]._target_', `${ROOT}.sources.S3Source`],
    [pipeline({ _target_: 'constructor' }), 'training.checkpoint_pipeline.stages[0]._target_', 'Unknown'],
    [pipeline({ _target_: `${ROOT}.sources.S3Source`, type: 's3' }), 'training.checkpoint_pipeline.stages[0]', 'not both'],
    [pipeline({ strict: true }), 'training.checkpoint_pipeline.stages[0].type', 'no `type`'],
    [pipeline(3), 'training.checkpoint_pipeline.stages[0]', 'must be a mapping'],
    [pipeline({ type: 'weight_only' }), 'training.checkpoint_pipeline.stages[0].type', '`weights_only`'],
    [pipeline({ type: 'lora' }), 'training.checkpoint_pipeline.stages[0].type', 'not available yet'],
    [pipeline({ _target_: `${ROOT}.modifiers.LoRAModifier` }), 'training.checkpoint_pipeline.stages[0]._target_', 'not available yet'],
    [{ training: { checkpoint_pipeline: { stages: [], cachedir: 1 } } }, 'training.checkpoint_pipeline.cachedir', '`cache_dir`'],
    [{ training: { checkpoint_pipeline: { stages: {} } } }, 'training.checkpoint_pipeline.stages', 'list'],
    [{ training: { checkpoint: { source: { type: 'local' }, modifiers: {} } } }, 'training.checkpoint.modifiers', 'list'],
    [{ stages: [], training: { checkpoint_pipeline: { stages: [] } } }, 'training.checkpoint_pipeline', '2 times'],
    [{ training: { checkpoint: { source: { type: 'local' } } } }, 'training.checkpoint.source.path', 'checkpoint_path'],
  ])('%j', (document, path, says) => {
    const error = errorOf(document);
    expect(error.details['config_path']).toBe(path);
    expect(error.message).toContain(says);
  });
  test('credentials in a URL are not repeated', () => {
    for (const password of ['hunter2', 'a@hunter2', `a@${'hunter2'.repeat(50)}`])
      expect(errorOf(pipeline({ _target_: 'x.Y', url: `https://user:${password}@host/file` })).message).not.toContain('hunter2');
  });
});

test('what was announced is there where a plug-in has it, for short, too', () => {
  const document = { stages: [{ type: 'quantize' }] };
  expect(understandDocument(document, { types: [...TYPES, 'modifier.quantize'], parameters: {} }).document).toEqual({
    stages: [{ type: 'modifier.quantize' }],
  });
  expect(errorOf(document).message).toContain('not available yet');
});

test.each([
  ['training.checkpoint_pipeline', pipeline({ type: 'weights_only' }), 'Make it the first stage there: `- source: …`.'],
  ['checkpoint_pipeline', { checkpoint_pipeline: { stages: [] } }, 'Make it the first stage there: `- source: …`.'],
  ['training.checkpoint', { training: { checkpoint: { loading: { type: 'weights_only' } } } }, 'Write it there, beside `loading`.'],
  ['training', { training: { load_weights_only: true } }, 'Write `checkpoint_path` for it.'],
])('a source at the root beside %s is refused, and not left out without a word', (form, document, advice) => {
  const { message, details } = errorOf({ ...(document as object), source: '/a.ckpt' });
  expect(details['config_path']).toBe('source');
  expect(message).toBe(`\`source\` at the root goes with \`stages\` there, and this pipeline stands under \`${form}\`. ${advice}`);
  // A group of the configuration is none.
  expect(() => understand({ ...(document as object), source: {}, checkpoint_path: '/a.ckpt' })).not.toThrow();
});

test('the guide for people who migrate names every class, short name and target type', () => {
  const guide = readFileSync(join(PROJECT_ROOT, 'docs', 'migrating-from-anemoi.md'), 'utf8');
  const words = Object.entries(ANEMOI_CLASSES).flatMap(([className, { type, names }]) => [className, type, ...names]);
  expect(words.filter((word) => !guide.includes(word))).toEqual([]);
});

test('options and settings that are null count as left out, as Anemoi writes its defaults', () => {
  const source = { _target_: `${ROOT}.sources.http.HTTPSource`, url: 'https://x/y.ckpt', expected_checksum: null, _convert_: 'all' };
  const { document } = understand({ training: { checkpoint: { source, timeout: null, loading: { type: 'weights_only', strict: null } } } });
  expect(document).toEqual({ stages: [{ type: 'source.http', url: 'https://x/y.ckpt' }, { type: 'loader.weights_only' }] });
  const local = { stages: [{ type: 'local', path: null }], max_retries: null, training: { checkpoint_path: '/a.ckpt' } };
  expect(understand(local).document).toEqual({ stages: [{ type: 'source.local', path: '/a.ckpt' }] });
});

test('settings of ours go with any form: in the block, or at the root', () => {
  const stages = [{ _target_: `${ROOT}.sources.S3Source`, url: 's3://b/k' }];
  const inside = understand({ training: { checkpoint_pipeline: { on_error: 'wait', stages } } }).document;
  expect(inside).toEqual({ on_error: 'wait', stages: [{ type: 'source.s3', url: 's3://b/k' }] });
  const beside = { name: 'n', on_error: 'fail', data: {}, training: { checkpoint_pipeline: { on_error: 'wait', stages } } };
  expect(understand(beside).document).toEqual({ name: 'n', on_error: 'wait', stages: [{ type: 'source.s3', url: 's3://b/k' }] });
});
