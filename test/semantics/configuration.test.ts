/** Sections 4 and 5 on documents as people write them: every shape, alias and legacy key, and the place and words of what is wrong. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadCatalog } from '../../activities/catalog.ts';
import { readDocument, type DocumentSettings } from '../../src/app/cli/document.ts';
import type { CheckpointError } from '../../src/errors.ts';
import { nearNames } from '../../src/model/suggestions.ts';
import type { PipelineInput } from '../../src/pipeline/contract.ts';

const ROOT = 'anemoi.training.checkpoint';
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-configuration-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(text: string, settings: DocumentSettings = {}, name = 'pipeline.yaml'): Promise<PipelineInput> {
  const file = join(folder, name);
  await writeFile(file, text);
  return readDocument(file, settings);
}

async function refused(text: string, settings: DocumentSettings = {}, name?: string): Promise<CheckpointError> {
  const error = await read(text, settings, name).then(
    () => {
      throw new Error('it should have been refused');
    },
    (thrown: unknown) => thrown as CheckpointError,
  );
  expect(error.code).toBe('CheckpointConfigError');
  return error;
}

const parameters = { checkpoint_path: '/runs/last.ckpt', target: '/runs/fresh.ckpt', output: '/out/start.safetensors' };

describe('4. Configuration: all three shapes, and a bare stages: at the root', () => {
  const CLASSES = [
    { type: 'source.s3', url: 's3://bucket/run/last.ckpt' },
    { type: 'loader.transfer_learning', target: '/runs/fresh.ckpt', skip_mismatched: true },
    { type: 'modifier.freezing', submodules_to_freeze: ['model.model.encoder'] },
    { type: 'sink.publish', uri: '/out/start.safetensors' },
  ];
  test.each<[string, string]>([
    [
      'training.checkpoint_pipeline.stages[*]._target_, by module path',
      `
training:
  checkpoint_pipeline:
    continue_on_error: false
    stages:
      - {_target_: ${ROOT}.sources.s3.S3Source, url: "s3://bucket/run/last.ckpt"}
      - {_target_: ${ROOT}.loading.strategies.TransferLearningLoader, skip_mismatched: true}
      - {_target_: ${ROOT}.modifiers.freezing.FreezingModifierStage, submodules_to_freeze: [model.model.encoder]}
`,
    ],
    [
      'the same by package path',
      `
training:
  checkpoint_pipeline:
    continue_on_error: false
    stages:
      - {_target_: ${ROOT}.sources.S3Source, url: "s3://bucket/run/last.ckpt"}
      - {_target_: ${ROOT}.loading.TransferLearningLoader, skip_mismatched: true}
      - {_target_: ${ROOT}.modifiers.FreezingModifierStage, submodules_to_freeze: [model.model.encoder]}
`,
    ],
    [
      'training.checkpoint with blocks, in the order source, loading, modifiers',
      `
training:
  checkpoint:
    modifiers:
      - {_target_: ${ROOT}.modifiers.freezing.FreezingModifierStage, submodules_to_freeze: [model.model.encoder]}
    loading: {_target_: ${ROOT}.loading.TransferLearningLoader, skip_mismatched: true}
    source: {_target_: ${ROOT}.sources.S3Source, url: "s3://bucket/run/last.ckpt"}
`,
    ],
    [
      'blocks by type',
      `
training:
  checkpoint:
    source: {type: s3, bucket: bucket, key: run/last.ckpt}
    loading: {type: transfer_learning, skip_mismatched: true}
    modifiers: [{type: freezing_modifier_stage, submodules_to_freeze: [model.model.encoder]}]
`,
    ],
    [
      'a bare stages: with short names and class names',
      `
training: {}
stages:
  - {type: S3Source, url: "s3://bucket/run/last.ckpt"}
  - {type: TransferLearningLoader, skip_mismatched: true}
  - {type: freeze, submodules_to_freeze: [model.model.encoder]}
`,
    ],
    [
      'the shorthand source: <uri> in a block',
      `
training:
  checkpoint:
    source: s3://bucket/run/last.ckpt
    loading: {type: transfer_learning, skip_mismatched: true}
    modifiers: [{type: FreezeModifier, submodules_to_freeze: [model.model.encoder]}]
`,
    ],
  ])('%s', async (_shape, text) => {
    const { stages } = await read(text, { parameters });
    expect(stages).toEqual(CLASSES);
  });
  test('as JSON', async () => {
    const text = JSON.stringify({ training: { checkpoint: { source: 'https://host/x.ckpt', loading: { type: 'weights_only' } } } });
    expect((await read(text, {}, 'pipeline.json')).stages).toEqual([
      { type: 'source.http', url: 'https://host/x.ckpt' },
      { type: 'loader.weights_only' },
    ]);
  });
  test('a whole Anemoi configuration: the rest may stay, references resolve', async () => {
    process.env['CKPT_TEST_ROOT'] = '/data';
    const text = `
defaults: [_self_]
hardware: {paths: {checkpoints: "\${oc.env:CKPT_TEST_ROOT}/ckpt"}, files: {last: last.ckpt}}
data: {format: zarr}
training:
  run_id: abc
  lr: {rate: 1.0e-4}
  checkpoint_pipeline:
    async_execution: true
    cache_dir: null
    max_retries: 3
    timeout: 300
    stages:
      - {_target_: ${ROOT}.sources.LocalSource, path: "\${hardware.paths.checkpoints}/\${hardware.files.last}"}
      - {_target_: ${ROOT}.loading.WarmStartLoader}
`;
    const notes: string[] = [];
    expect(await read(text, { note: (line) => notes.push(line) })).toEqual({
      max_retries: 3,
      timeout: 300,
      stages: [{ type: 'source.local', path: '/data/ckpt/last.ckpt' }, { type: 'loader.warm_start' }],
    });
    expect(notes).toEqual([expect.stringContaining('async_execution')]);
    delete process.env['CKPT_TEST_ROOT'];
  });
});

describe('4. Configuration: the shorthand source: <uri> picks by scheme', () => {
  test.each([
    ['/data/last.ckpt', { type: 'source.local', path: '/data/last.ckpt' }],
    ['file:///data/last.ckpt', { type: 'source.local', path: 'file:///data/last.ckpt' }],
    ['~/last.ckpt', { type: 'source.local', path: join(homedir(), 'last.ckpt') }],
    ['s3://bucket/key', { type: 'source.s3', url: 's3://bucket/key' }],
    ['S3://bucket/key', { type: 'source.s3', url: 'S3://bucket/key' }],
    ['http://host/x', { type: 'source.http', url: 'http://host/x' }],
    ['https://host/x', { type: 'source.http', url: 'https://host/x' }],
  ])('%s', async (uri, stage) => {
    expect((await read(`stages:\n  - source: ${uri}\n  - type: weights_only\n`)).stages[0]).toEqual(stage);
    expect((await read(`source: ${uri}\nstages:\n  - type: weights_only\n`)).stages[0]).toEqual(stage);
    const text = 'source: ${param.from}\nstages: [{type: weights_only}]\n';
    expect((await read(text, { parameters: { from: uri } })).stages[0]).toEqual(stage);
  });
  test('a relative path counts from the document, options and controls go along', async () => {
    const { stages } = await read(`stages:\n  - {source: last.ckpt, timeout: 9, expected_checksum: "${'a'.repeat(64)}"}\n`);
    expect(stages).toEqual([{ type: 'source.local', path: join(folder, 'last.ckpt'), timeout: 9, expected_checksum: 'a'.repeat(64) }]);
  });
  test.each([
    ['gs://bucket/key', 'gs://'],
    ['ftp://host/x', 'ftp://'],
  ])('an unknown scheme is a CheckpointConfigError listing the known ones: %s', async (uri, scheme) => {
    const error = await refused(`stages:\n  - type: weights_only\n  - source: ${uri}\n`);
    for (const text of [scheme, 'file://', 's3://', 'http://', 'https://']) expect(error.message).toContain(text);
    expect(error.details).toMatchObject({ config_path: 'stages[1].source', line: 3, column: 5 });
  });
  test.each([
    ['both given', 'stages: [{source: /a, path: /b}]'],
    ['a number', 'stages: [{source: 3}]'],
    ['nothing', 'source:\nstages: []'],
  ])('%s is an error', async (_what, text) => {
    await refused(text);
  });
});

describe('4. Configuration: aliases', () => {
  test.each<[string, string, object]>([
    ['LocalSource.path', '{type: local, path: /x}', { type: 'source.local', path: '/x' }],
    ['S3Source.bucket+key', '{type: s3, bucket: bucket, key: k/x}', { type: 'source.s3', url: 's3://bucket/k/x' }],
    ['FreezingModifier, layers', '{type: FreezingModifier, layers: [a]}', { type: 'modifier.freezing', layers: ['a'] }],
    ['FreezeModifier', '{type: FreezeModifier, layers: [a]}', { type: 'modifier.freezing', layers: ['a'] }],
    ['freezing', '{type: freezing, layers: [a]}', { type: 'modifier.freezing', layers: ['a'] }],
    ['freeze', '{type: freeze, layers: [a]}', { type: 'modifier.freezing', layers: ['a'] }],
    ['_target_ of an alias', `{_target_: ${ROOT}.modifiers.FreezeModifier, layers: [a]}`, { type: 'modifier.freezing', layers: ['a'] }],
  ])('%s', async (_alias, stage, expected) => {
    expect((await read(`stages: [${stage}]`)).stages[0]).toEqual(expected);
  });
  test.each([
    ['{type: s3, url: "s3://bucket/k", bucket: bucket}', 'stages[0].bucket'],
    ['{type: s3, url: "s3://bucket/k", key: k}', 'stages[0].key'],
    ['{type: s3, bucket: bucket}', 'stages[0].key'],
    [`{type: s3, _target_: ${ROOT}.sources.S3Source, url: "s3://bucket/k"}`, 'stages[0]'],
  ])('an alias together with its main option: %s', async (stage, path) => {
    expect((await refused(`stages: [${stage}]`)).details['config_path']).toBe(path);
  });
});

describe('4. Configuration: processor refresh flags', () => {
  const flags = (training: string): string => `training:\n  checkpoint: {loading: {type: weights_only}}\n${training}`;
  test.each<[string, string, object]>([
    ['no config at all: both off', '', {}],
    ['states true', '  update_ds_stats_on_ckpt_load: {states: true, tendencies: false}\n', { refresh_states: true }],
    ['tendencies: Anemoi’s default true', '  update_ds_stats_on_ckpt_load: {states: false}\n', { refresh_tendencies: true }],
    ['states: Anemoi’s default false', '  update_ds_stats_on_ckpt_load: {tendencies: false}\n', {}],
  ])('%s', async (_row, text, expected) => {
    expect((await read(flags(text))).stages).toEqual([{ type: 'loader.weights_only', ...expected }]);
  });
});

describe('4. Configuration: legacy keys', () => {
  const hardware = 'hardware: {paths: {checkpoints: /ckpt}, files: {}}\n';
  test.each<[string, string, readonly string[]]>([
    ['load_weights_only', 'load_weights_only: true', ['source.local', 'loader.weights_only']],
    [
      'load_weights_only and transfer_learning',
      'load_weights_only: true, transfer_learning: true',
      ['source.local', 'loader.transfer_learning'],
    ],
    ['run_id', 'run_id: abc', ['source.local', 'loader.warm_start']],
    ['fork_run_id', 'fork_run_id: abc', ['source.local', 'loader.warm_start']],
    [
      'submodules_to_freeze, last',
      'run_id: abc, submodules_to_freeze: [encoder]',
      ['source.local', 'loader.warm_start', 'modifier.freezing'],
    ],
  ])('%s', async (_key, training, types) => {
    const { stages } = await read(`${hardware}training: {${training}}\n`, { parameters: { checkpoint_path: '/x', target: '/t' } });
    expect(stages.map(({ type }) => type)).toEqual(types);
  });
  test('transfer_learning alone does nothing', async () => {
    await refused(`${hardware}training: {transfer_learning: true}\n`);
  });
});

describe('4. Configuration: what cannot be built, with line and column', () => {
  test.each<[string, string, string, number, readonly string[]]>([
    ['unknown target', `stages:\n  - _target_: ${ROOT}.sources.S3Sorce\n`, 'stages[0]._target_', 2, ['S3Source', 'never imported']],
    ['a callable', 'stages:\n  - _target_: subprocess.run\n    args: [rm]\n', 'stages[0]._target_', 2, ['subprocess.run', 'table']],
    ['unknown type', 'stages:\n  - type: wieghts_only\n', 'stages[0].type', 2, ['`weights_only`']],
    ['unknown option', 'stages:\n  - type: weights_only\n    stric: true\n', 'stages[0].stric', 3, ['`strict`']],
    ['missing option', 'stages:\n  - type: http\n', 'stages[0].url', 2, ['missing']],
    ['an option of the wrong kind', 'stages:\n  - type: weights_only\n    strict: [1]\n', 'stages[0].strict', 3, ['strict']],
    ['a text instead of a list', 'stages:\n  - type: freeze\n    layers: encoder\n', 'stages[0].layers', 3, ['list']],
    ['a mapping without _target_', 'stages:\n  - {strict: true}\n', 'stages[0].type', 2, ['ckpt stages']],
    ['a number', 'stages:\n  - 7\n', 'stages[0]', 2, ['mapping']],
    ['nothing', 'stages:\n  -\n', 'stages[0]', 2, ['mapping']],
    [
      'inside a list',
      'stages:\n  - type: rename\n    rules:\n      - {pattern: a, replacment: b}\n',
      'stages[0].rules[0].replacment',
      4,
      ['`replacement`'],
    ],
    ['a setting', 'stages: []\nmax_retrys: 3\n', 'max_retrys', 2, ['`max_retries`']],
    ['lora is announced only', 'stages:\n  - type: lora\n', 'stages[0].type', 2, ['not available yet']],
    ['a credential in a URL', 'stages:\n  - type: http\n    url: "https://me:hunter2@host/x"\n', 'stages[0].url', 3, ['history']],
  ])('%s', async (_row, text, path, line, says) => {
    const error = await refused(text);
    expect(error.details).toMatchObject({ config_path: path, line });
    for (const each of says) expect(error.message).toContain(each);
    expect(JSON.stringify(error.toJSON())).not.toContain('hunter2');
  });
  test('the first 200 characters of its config', async () => {
    const error = await refused(`stages:\n  - _target_: os.system\n    command: ${'x'.repeat(1000)}\n`);
    expect(error.message).toContain('"_target_":"os.system"');
    expect(error.message).not.toContain('x'.repeat(201));
  });
});

describe('4. Configuration: YAML as people write it', () => {
  test('anchors, aliases and merge keys', async () => {
    const { stages } = await read(
      'x-retry: &retry {max_retries: 5, timeout: 60}\nstages:\n  - &s {type: local, path: /x, <<: *retry}\n  - {type: weights_only, <<: *retry, timeout: 9}\n',
    );
    expect(stages).toEqual([
      { type: 'source.local', path: '/x', max_retries: 5, timeout: 60 },
      { type: 'loader.weights_only', max_retries: 5, timeout: 9 },
    ]);
  });
  test.each<[string, string, string]>([
    ['duplicate keys', 'stages:\n  - type: local\n    path: /a\n    path: /b\n', 'twice'],
    ['a tab', 'stages:\n\t- type: local\n', 'tab'],
    ['two documents', 'stages: []\n---\nstages: []\n', 'second YAML document'],
    ['a tag', 'stages:\n  - !!python/object:os.system {type: local}\n', 'plain data'],
    ['empty', '', 'empty'],
    ['comments only', '# nothing\n', 'empty'],
    ['a list', '- type: local\n', 'a list'],
    ['a text', 'hello\n', 'a text'],
    ['null stages', 'stages:\n', 'list'],
    ['a key that is a number', 'stages:\n  - {type: local, path: /x, 1: y}\n', '`1`'],
    ['__proto__', 'stages:\n  - {type: local, path: /x, __proto__: {polluted: 1}}\n', '__proto__'],
    ['an alias of nothing', 'stages: *nowhere\n', 'nowhere'],
    [
      'aliases that multiply',
      `a: &a [${'x,'.repeat(10)}]\nb: &b [${'*a,'.repeat(10)}]\nc: &c [${'*b,'.repeat(10)}]\nstages: [${'*c,'.repeat(10)}]\n`,
      'expand',
    ],
    ['a huge one', `name: ${'x'.repeat(1_100_000)}\nstages: []\n`, 'at most'],
  ])('%s', async (_what, text, says) => {
    expect((await refused(text)).message).toContain(says);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
  test('of a long document as many stages are read as a run can have', async () => {
    const many = (count: number): string => `stages:\n${'  - {type: modifier.select, include: ["a.*"]}\n'.repeat(count)}`;
    expect((await read(many(100))).stages).toHaveLength(100);
    expect((await refused(many(5000))).message).toContain('`stages` has 5000 stages, at most 100 run in one pipeline');
  });
});

describe('5. Catalog', () => {
  test('sorted lists', async () => {
    const types = [...(await loadCatalog()).keys()];
    for (const kind of ['source', 'loader', 'modifier', 'sink']) {
      const names = types.filter((type) => type.startsWith(`${kind}.`));
      expect(names).toEqual(names.toSorted());
    }
    expect(types.slice(0, 7)).toEqual([
      'source.http',
      'source.local',
      'source.s3',
      'loader.cold_start',
      'loader.transfer_learning',
      'loader.warm_start',
      'loader.weights_only',
    ]);
  });
  test('did-you-mean: `loca`, `LOCAL`, `s3source` hit; within edit distance 2; nothing for an empty name', () => {
    const types = ['source.http', 'source.local', 'source.s3'];
    expect(nearNames('loca', types)).toEqual(['source.local']);
    expect(nearNames('LOCAL', types)).toEqual(['source.local']);
    expect(nearNames('s3source', types)).toContain('source.s3');
    expect(nearNames('s3source', ['local', 's3', 'http'])).toEqual(['s3']);
    expect(nearNames('lcoal', ['local', 's3'])).toEqual(['local']);
    expect(nearNames('', types)).toEqual([]);
  });
  test('an unknown name: the name, all available names, did-you-mean; class names and aliases match too', async () => {
    for (const [name, near] of [
      ['weights_onl', 'weights_only'],
      ['WarmStartLoder', 'WarmStartLoader'],
      ['freezing_modifer', 'freezing_modifier'],
    ] as const) {
      const { message } = await refused(`stages: [{type: ${name}}]`);
      for (const text of [`\`${name}\``, `\`${near}\``, 'loader.warm_start', 'source.local']) expect(message).toContain(text);
    }
  });
});
