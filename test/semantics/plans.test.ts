/**
 * The rows of the behaviour that this project promises, each under its own words: what loaders, modifiers and composition do
 * with headers, targets and records. Stages are the real ones over a real workspace; only the headers are made here. The rows of
 * the other sections are in the files beside this one.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadCatalog, parseOptions, type Catalog } from '../../activities/catalog.ts';
import type { StageOutcome } from '../../activities/stage.ts';
import type { CheckpointError, Json, JsonObject } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import { slots } from '../../src/io/slots.ts';
import { turnOf } from '../../src/io/turn.ts';
import { CONTEXT_LIMIT, EMPTY_CONTEXT, type CheckpointContext } from '../../src/model/context.ts';
import type { Header } from '../../src/model/header.ts';
import { publishedMetadata, type Plan } from '../../src/model/plan.ts';
import { didYouMean, nearNames } from '../../src/model/suggestions.ts';
import { understandDocument } from '../../src/pipeline/anemoi/document.ts';
import { aliasesOf } from '../../src/pipeline/stage-names.ts';
import { adviseComposition } from '../../src/pipeline/composition.ts';
import { headerOf, treeOf, type Shapes } from '../support/headers.ts';
import { fixture } from '../support/project.ts';
import { servicesOf } from '../support/temporal.ts';

let folder: string;
let catalog: Catalog;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-semantics-'));
  catalog = await loadCatalog();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface StepResult {
  readonly record: JsonObject;
  readonly plan: Plan;
  readonly context: CheckpointContext;
  readonly names: readonly string[];
}

/** Runs stages after a source that has read this header; a header among the stages is another source. */
async function through(header: Header | null, ...stages: readonly (JsonObject | Header)[]): Promise<StepResult> {
  const workspace = servicesOf(folder).workspace(null);
  const source = async (context: CheckpointContext, next: Header): Promise<CheckpointContext> => ({
    ...context,
    header: await workspace.putJson(next),
    format: next.format,
    source: next.files[0]!,
  });
  let context: CheckpointContext = header === null ? EMPTY_CONTEXT : await source(EMPTY_CONTEXT, header);
  for (const [index, stage] of stages.entries()) {
    if ('tensors' in stage && 'weights' in stage) {
      context = await source(context, stage as Header);
      continue;
    }
    const { type, ...options } = stage as JsonObject & { type: string };
    const definition = catalog.get(type)!;
    const outcome: StageOutcome = await definition.run({
      context,
      options: parseOptions(definition, options, index),
      stage: { index, type },
      run: { workflowId: 'w', runId: 'r', workspace: null },
      services: servicesOf(folder),
      signal: new AbortController().signal,
      last: false,
      resume: undefined,
      heartbeat: () => undefined,
      turn: turnOf(slots(1), new AbortController().signal),
      recipe: async () => null,
    });
    context = outcome.context;
  }
  const plan = (await workspace.getJson(context.plan!)) as Plan;
  return { record: context.metadata as JsonObject, plan, context, names: plan.tensors.map(({ name }) => name) };
}

async function failure(run: Promise<unknown>): Promise<CheckpointError> {
  return run.then(
    () => {
      throw new Error('it should have failed');
    },
    (error: unknown) => error as CheckpointError,
  );
}

/** A target as a spec in the document. */
function spec(shapes: Shapes): JsonObject {
  return Object.fromEntries(Object.entries(shapes).map(([name, [dtype, shape]]) => [name, { dtype, shape }]));
}

const AB: Shapes = { a: ['F32', [2]], b: ['F32', [3]] };
const weightsOnly = (options: JsonObject = {}): JsonObject => ({ type: 'loader.weights_only', ...options });
const transfer = (options: JsonObject = {}): JsonObject => ({ type: 'loader.transfer_learning', ...options });

test('training state beside tensors that are renamed or left out is warned of, as it knows them as they were', async () => {
  const tree = treeOf({ model_state_dict: {}, optimizer_state_dict: { state: {} } });
  const warm = { type: 'loader.warm_start' };
  const warningsOf = async (...stages: readonly JsonObject[]): Promise<readonly string[]> => {
    const { record } = await through(headerOf(AB, { tree }), ...stages);
    const warnings = (record['warnings'] ?? []) as readonly string[];
    return warnings.filter((text) => text.startsWith('The training state'));
  };
  const of = (count: number, done: string) => [expect.stringContaining(`before ${count} of them were ${done}`)];
  const drop = { type: 'modifier.drop_training_state' };
  const select = { type: 'modifier.select', include: ['a'] };
  const rename = { type: 'modifier.rename', add_prefix: 'x.' };
  expect(await warningsOf(warm, select)).toEqual(of(1, 'left out'));
  expect(await warningsOf(warm, rename)).toEqual(of(2, 'renamed'));
  expect(await warningsOf(warm, drop, select, rename)).toEqual([]);
  expect(await warningsOf(weightsOnly(), select, rename)).toEqual([]);
  expect(await warningsOf(warm, { type: 'modifier.select', include: ['*'] })).toEqual([]);
  expect(await warningsOf(warm, { type: 'modifier.rename', rules: [{ pattern: 'no', replacement: '' }] })).toEqual([]);
});

describe('1. Run state and record', () => {
  test('no stage clears the map; a later stage sees everything earlier ones wrote', async () => {
    const { record } = await through(headerOf(AB), weightsOnly(), { type: 'modifier.select', include: ['a'] });
    expect(record).toMatchObject({
      loading_strategy: 'weights_only',
      num_transferred: 2,
      modifiers_applied: [{ type: 'select', num_removed: 1 }],
    });
  });
  test.each<[string, readonly JsonObject[], readonly string[]]>([
    ['a loader needs checkpoint_data', [weightsOnly()], ['checkpoint_data']],
    ['transfer_learning, too', [transfer({ target: spec(AB) })], ['checkpoint_data']],
    ['a modifier needs model', [{ type: 'modifier.freezing', submodules_to_freeze: ['a'] }], ['model']],
  ])('every stage declares its needs: %s', async (_name, stages, missing) => {
    const error = await failure(through(null, ...stages));
    expect(error.code).toBe('CheckpointError');
    expect(error.details).toEqual({ stage: stages[0]!['type'], missing_fields: missing });
  });
  test.each<[string, JsonObject]>([
    ['transfer_learning', transfer()],
    ['a strict load', weightsOnly({ strict: true })],
    ['the same of a cold start', { type: 'loader.cold_start', strict: true }],
    ['filling from it', { type: 'loader.warm_start', fill: 'target' }],
  ])('%s needs the model: without a target its options are wrong, before anything is run', async (_name, stage) => {
    const error = await failure(through(headerOf(AB), stage));
    expect(error.code).toBe('CheckpointConfigError');
    expect(error.details).toEqual({ config_path: 'stages[0].target', reason: 'target_required' });
    expect(error.message).toContain(`${String(stage['type'])}: option \`target\`: it is missing, and `);
  });
  test.each(['loader.weights_only', 'loader.cold_start'])(
    '%s with strict=false and no target selects the whole source state dict',
    async (type) => {
      expect((await through(headerOf(AB), { type })).names).toEqual(['a', 'b']);
    },
  );
  test('weights_initialized: true, written by a loader that selected at least one tensor', async () => {
    expect((await through(headerOf(AB), weightsOnly())).record['weights_initialized']).toBe(true);
  });
  test('transferred_params: names in source order; skipped_params: name -> reason', async () => {
    const { record } = await through(
      headerOf({ b: ['F32', [3]], x: ['F32', [1]], a: ['F32', [2]], c: ['F32', [4, 2]] }),
      transfer({ target: spec({ ...AB, c: ['F32', [2, 4]] }) }),
    );
    expect(record).toMatchObject({
      transferred_params: ['b', 'a'],
      skipped_params: { x: 'not_in_target', c: 'shape_mismatch: [4, 2], target [2, 4]' },
      num_transferred: 2,
      num_skipped: 2,
    });
  });
  test('long lists are complete in the stored record; the result carries counts and the first 20 names', async () => {
    const many: Shapes = Object.fromEntries(
      Array.from({ length: 3000 }, (_, i) => [`a.rather.long.name.of.a.module.${i}.weight`, ['F32', [1]] as const]),
    );
    const { record, plan, context } = await through(
      headerOf({ ...many, extra: ['F32', [1]] }),
      transfer({ target: spec({ ...many, missing: ['F32', [1]] }) }),
      { type: 'modifier.freezing', submodules_to_freeze: ['a'] },
      { type: 'modifier.cast', dtype: 'BF16' },
    );
    expect(record).toMatchObject({ num_transferred: 3000, num_frozen: 3000, num_casts: 3000, missing_keys: ['missing'], num_missing: 1 });
    expect((record['transferred_params'] as readonly Json[]).length).toBeLessThanOrEqual(20);
    expect(plan.record!['transferred_params']).toHaveLength(3000);
    expect(JSON.stringify(context).length).toBeLessThan(CONTEXT_LIMIT / 2);
  });
});

describe('2. Pipeline', () => {
  test('each loader overlays its selection on the plan, the later one winning per key; a second source replaces data', async () => {
    const second = headerOf({ a: ['F32', [2]] }, {}, 'file:///second.ckpt');
    const { plan, names } = await through(headerOf(AB), weightsOnly(), second, transfer({ target: spec(AB) }));
    expect(names).toEqual(['a', 'b']);
    expect(plan.tensors.map(({ origin }) => plan.files[plan.storages[origin.storage]!.file]!.uri)).toEqual([
      'file:///second.ckpt',
      'file:///source.ckpt',
    ]);
  });
  test.each<[string, readonly string[], string]>([
    ['no_stages', [], 'no_stages'],
    ['source_after_loader', ['loader.cold_start', 'source.s3', 'sink.publish'], 'source_after_loader'],
    ['modifier_before_loader', ['source.s3', 'modifier.cast', 'loader.cold_start', 'sink.publish'], 'modifier_before_loader'],
    ['duplicate_loader', ['source.s3', 'loader.cold_start', 'loader.cold_start', 'sink.publish'], 'duplicate_loader'],
    ['duplicate_source', ['source.s3', 'source.s3', 'loader.cold_start', 'sink.publish'], 'duplicate_source'],
    ['suggestion missing_source', ['loader.cold_start', 'sink.publish'], 'missing_source'],
    ['suggestion missing_loader', ['source.s3'], 'missing_loader'],
    ['suggestion modifiers_only', ['modifier.cast'], 'modifiers_only'],
    [
      'two different loaders with no source between them',
      ['source.s3', 'loader.cold_start', 'loader.warm_start', 'sink.publish'],
      'loaders_without_source_between',
    ],
    [
      'a source after a modifier',
      ['source.s3', 'loader.cold_start', 'modifier.cast', 'source.http', 'sink.publish'],
      'source_after_modifier',
    ],
  ])('composition: %s', (_row, types, code) => {
    expect(adviseComposition(types.map((type) => ({ type }))).map((finding) => finding.code)).toContain(code);
  });
  test('composition: repeated modifiers are fine', () => {
    const types = ['source.s3', 'loader.cold_start', 'modifier.freezing', 'modifier.freezing', 'sink.publish'];
    expect(adviseComposition(types.map((type) => ({ type })))).toEqual([]);
  });
});

describe('4. Configuration', () => {
  const understand = (document: unknown) =>
    understandDocument(document, { types: [...catalog.keys()], parameters: {} }).document as { stages: JsonObject[] };
  test('an alias together with its main option is a CheckpointConfigError', async () => {
    const both = { type: 'modifier.freezing', submodules_to_freeze: ['a'], layers: ['a'] };
    const error = await failure(through(headerOf(AB), weightsOnly(), both));
    expect([error.code, error.details['config_path']]).toEqual(['CheckpointConfigError', 'stages[1].layers']);
  });
  test('options are typed: config_path `stages[i].option`', async () => {
    for (const [stage, path] of [
      [weightsOnly({ strict: 'yes' }), 'stages[0].strict'],
      [weightsOnly({ strct: true }), 'stages[0].strct'],
      [{ type: 'modifier.cast', dtype: 'I8' }, 'stages[0].dtype'],
      [{ type: 'modifier.rename' }, 'stages[0].rules'],
    ] as const) {
      const error = await failure(through(headerOf(AB), stage));
      expect([error.code, error.details['config_path']]).toEqual(['CheckpointConfigError', path]);
    }
  });
  test('processor refresh flags: no config at all = both off', () => {
    expect(understand({ training: { checkpoint: { loading: { type: 'weights_only' } } } }).stages).toEqual([
      { type: 'loader.weights_only' },
    ]);
  });
  test('_target_ may not name any importable callable', () => {
    expect(() => understand({ stages: [{ _target_: 'os.system' }] })).toThrow('Unknown `_target_`');
  });
});

describe('5. Catalog', () => {
  test('did-you-mean: containing, ignoring case; within edit distance 2; nothing for an empty name', () => {
    const types = ['source.local', 'source.s3'];
    expect(nearNames('LOCAL', types)).toEqual(['source.local']);
    expect(nearNames('source.lcoal', types)).toContain('source.local');
    expect(didYouMean('', types)).toBe('');
  });
});

describe('5. Catalog: an entry shows', () => {
  test('aliases, class and dotted path', () => {
    expect(aliasesOf('modifier.freezing')).toEqual({
      aliases: ['freezing_modifier_stage', 'freezing', 'freeze', 'freezing_modifier', 'freeze_modifier'],
      classes: ['FreezingModifierStage', 'FreezingModifier', 'FreezeModifier'].map(
        (name) => `anemoi.training.checkpoint.modifiers.${name}`,
      ),
    });
    expect(aliasesOf('sink.publish')).toEqual({ aliases: [], classes: [] });
  });
});

describe('8. Loading', () => {
  test('published dtype = target’s; float to float is done and listed in casts', async () => {
    const { plan, record } = await through(
      headerOf({ a: ['F64', [2]], i: ['I32', [2]] }),
      weightsOnly({ target: spec({ a: ['F32', [2]], i: ['I64', [2]] }) }),
    );
    expect(plan.tensors.map(({ dtype, origin }) => [origin.dtype, dtype])).toEqual([
      ['F64', 'F32'],
      ['I32', 'I64'],
    ]);
    expect(record['casts']).toContainEqual({ name: 'a', from: 'F64', to: 'F32' });
  });
  test.each<[string, Shapes, Shapes]>([
    ['float for integer', { a: ['F32', [2]], b: ['F32', [1]] }, { a: ['I64', [2]], b: ['F32', [1]] }],
    ['bool for integer', { a: ['BOOL', [2]] }, { a: ['U8', [2]] }],
    ['complex for float', { a: ['C64', [2]] }, { a: ['F32', [2]] }],
  ])('a change of kind is CheckpointIncompatibleError: %s', async (_name, source, target) => {
    for (const loader of [weightsOnly, transfer]) {
      const error = await failure(through(headerOf(source), loader({ target: spec(target) })));
      expect([error.code, error.details['reason']]).toEqual(['CheckpointIncompatibleError', 'dtype_kind']);
    }
  });
  test('[1] for [] fits everywhere and is listed', async () => {
    for (const loader of [weightsOnly, transfer, (o: JsonObject) => ({ type: 'loader.warm_start', ...o })]) {
      const { plan, record } = await through(headerOf({ a: ['F32', [1]] }), loader({ target: spec({ a: ['F32', []] }) }));
      expect(plan.tensors[0]!.shape).toEqual([]);
      expect(record['casts']).toEqual([{ name: 'a', from: 'F32', to: 'F32', from_shape: [1], to_shape: [] }]);
    }
  });
  test('published keys are exactly the selected ones, in target order', async () => {
    const target = spec({ b: ['F32', [3]], only: ['F32', [1]], a: ['F32', [2]] });
    expect((await through(headerOf(AB), weightsOnly({ target }))).names).toEqual(['b', 'a']);
  });
  test('names sharing storage are all published', async () => {
    const header = headerOf({ a: ['F32', [2]] });
    const tied = { ...header, weights: [...header.weights, { name: 'tied', tensor: 0 }] };
    expect((await through(tied, weightsOnly())).names).toEqual(['a', 'tied']);
  });
  test('weights_only: strict=false selects names on both sides and says nothing about the rest', async () => {
    const { names, record } = await through(
      headerOf({ ...AB, x: ['F32', [1]] }),
      weightsOnly({ target: spec({ ...AB, y: ['F32', [1]] }) }),
    );
    expect(names).toEqual(['a', 'b']);
    expect(record).toMatchObject({ missing_keys: ['y'], unexpected_keys: ['x'] });
  });
  test('weights_only: strict=true demands equal name sets', async () => {
    const error = await failure(
      through(headerOf({ ...AB, x: ['F32', [1]] }), weightsOnly({ strict: true, target: spec({ ...AB, y: ['F32', [1]] }) })),
    );
    expect(error.code).toBe('CheckpointIncompatibleError');
    expect(error.details).toMatchObject({ missing_keys: ['y'], num_missing: 1, unexpected_keys: ['x'], num_unexpected: 1 });
    expect(error.details).not.toHaveProperty('shape_mismatches');
  });
  test.each([true, false])('weights_only: a shape difference on a shared name fails either way (strict=%s)', async (strict) => {
    const error = await failure(through(headerOf(AB), weightsOnly({ strict, target: spec({ ...AB, a: ['F32', [3]] }) })));
    expect(error.details).toMatchObject({ shape_mismatches: { a: [[2], [3]] }, num_mismatches: 1 });
  });
  test('weights_only: no training state in the output; the loader writes no epoch or global_step', async () => {
    const { plan, record } = await through(headerOf(AB, { tree: treeOf({ model_state_dict: {}, optimizer_states: [1] }) }), weightsOnly());
    expect(plan.trainingState).toBeUndefined();
    expect(Object.keys(record)).not.toEqual(expect.arrayContaining(['epoch']));
    expect(Object.keys(record)).not.toEqual(expect.arrayContaining(['global_step']));
  });
  test('transfer_learning: a source name is skipped if not in the target, or if its shape differs; all others transfer', async () => {
    const { plan } = await through(headerOf({ ...AB, x: ['F32', [1]] }), transfer({ target: spec({ a: ['F32', [2]], b: ['F32', [4]] }) }));
    expect(plan.skipped).toEqual([
      { what: 'b', reason: 'shape_mismatch', details: { source_shape: [3], target_shape: [4] } },
      { what: 'x', reason: 'not_in_target', details: { source_shape: [1], target_shape: null } },
    ]);
  });
  test('transfer_learning: names of a spec that are left uncovered are counted in a warning, as nothing fills them', async () => {
    const target = spec({ a: ['F32', [2]], b: ['F32', [4]], c: ['F32', [1]] });
    const { record } = await through(headerOf(AB), transfer({ target }));
    expect(record['warnings']).toEqual([expect.stringContaining("2 of the target's 3 names will not be published")]);
    expect((await through(headerOf(AB), transfer({ target: spec(AB) }))).record).not.toHaveProperty('warnings');
    expect((await through(headerOf(AB), transfer({ target, fill: 'none' }))).record).not.toHaveProperty('warnings');
    expect((await through(headerOf(AB), weightsOnly({ target: spec({ a: ['F32', [2]], c: ['F32', [1]] }) }))).record).not.toHaveProperty(
      'warnings',
    );
  });
  test('transfer_learning, skip_mismatched=false: any shape skip -> CheckpointIncompatibleError, details.shape_mismatches filled', async () => {
    const target = spec({ a: ['F32', [2]], b: ['F32', [4]] });
    const error = await failure(through(headerOf({ ...AB, x: ['F32', [1]] }), transfer({ skip_mismatched: false, target })));
    expect(error.details).toMatchObject({ shape_mismatches: { b: [[3], [4]] } });
    expect(
      (await through(headerOf({ a: ['F32', [2]], x: ['F32', [1]] }), transfer({ skip_mismatched: false, target }))).record,
    ).toMatchObject({ num_skipped: 1, missing_keys: ['b'] });
  });
  test('warm_start: always strict; all three lists in details', async () => {
    const error = await failure(
      through(headerOf({ ...AB, x: ['F32', [1]] }), {
        type: 'loader.warm_start',
        target: spec({ a: ['F32', [3]], b: ['F32', [3]], y: ['F32', [1]] }),
      }),
    );
    expect(error.details).toMatchObject({ missing_keys: ['y'], unexpected_keys: ['x'], shape_mismatches: { a: [[2], [3]] } });
  });
  test('warm_start: epoch and global_step from the file (null epoch = 0), best_metric and metrics_history if there', async () => {
    const tree = treeOf({ model_state_dict: {}, best_metric: 0.5, metrics_history: { loss: [1, 2] } });
    const base = headerOf(AB, { tree });
    const header = { ...base, training: { ...base.training, epoch: null } };
    expect((await through(header, { type: 'loader.warm_start' })).record).toMatchObject({
      epoch: 0,
      global_step: 99,
      metrics_history: { loss: [1, 2] },
    });
    const callbacks = treeOf({ state_dict: {}, callbacks: { 'ModelCheckpoint{}': { best_model_score: 3 } } });
    const without = await through(headerOf(AB, { tree: callbacks }), { type: 'loader.warm_start' });
    expect(without.record['best_metric']).toBe(3);
    expect(without.record).not.toHaveProperty('metrics_history');
  });
  test('best_metric also from a checkpoint callback’s best score, which Lightning keeps as a tensor', async () => {
    const source = await openLocalFile(fixture('good/lightning_trained.ckpt'));
    const header = await readHeader(source).finally(() => source.close());
    const { record } = await through(header, { type: 'loader.warm_start' });
    expect(record['best_metric']).toBeCloseTo(0.9204, 4);
    expect(record['best_metric']).toBe(Math.fround(record['best_metric'] as number));
    expect(record['warnings']).toBeUndefined();
    const gone = { ...header, files: header.files.map((file) => ({ ...file, uri: 'file:///nowhere/gone.ckpt' })) };
    const without = (await through(gone, { type: 'loader.warm_start' })).record;
    expect(without).not.toHaveProperty('best_metric');
    expect(without['warnings']).toEqual([expect.stringContaining('`best_metric` was not read: ')]);
  });
  test('Files: the output is resumable: a null epoch or global_step is 0 in the file, too', async () => {
    const tree = treeOf({ model_state_dict: {}, epoch: null, global_step: null, best_metric: null });
    const base = headerOf(AB, { tree });
    const header = { ...base, training: { ...base.training, epoch: null, global_step: null } };
    const { record, plan } = await through(header, { type: 'loader.warm_start' });
    expect(record).toMatchObject({ epoch: 0, global_step: 0 });
    const { root, nodes } = plan.trainingState!;
    const { entries } = nodes[root] as { readonly entries: readonly (readonly [number, number])[] };
    expect(entries.map(([key, value]) => [nodes[key], nodes[value]])).toEqual([
      ['epoch', 0],
      ['global_step', 0],
      ['best_metric', null],
    ]);
  });
  test('warm_start: absent optimizer or scheduler state -> warning, still success', async () => {
    expect((await through(headerOf(AB), { type: 'loader.warm_start' })).record['warnings']).toEqual([
      'the checkpoint has no scheduler state',
    ]);
  });
  test('cold_start: epoch 0, global_step 0 whatever the file says; pretrained_from = the source’s URL or path', async () => {
    const { record, plan } = await through(headerOf(AB), { type: 'loader.cold_start' });
    expect(record).toMatchObject({ loading_strategy: 'cold_start', epoch: 0, global_step: 0, pretrained_from: 'file:///source.ckpt' });
    expect(plan.trainingState).toBeUndefined();
  });
  test.each<[string, JsonObject]>([
    ['weights_only non-strict', weightsOnly()],
    ['transfer_learning', transfer()],
    ['cold_start', { type: 'loader.cold_start' }],
  ])('nothing in common: CheckpointIncompatibleError, reason no_common_keys, with the prefix and the count (%s)', async (_name, loader) => {
    const error = await failure(through(headerOf({ 'model.a': ['F32', [2]], 'model.b': ['F32', [3]] }), { ...loader, target: spec(AB) }));
    expect(error.details).toMatchObject({ reason: 'no_common_keys', hints: [{ from: 'model.', to: '', count: 2 }] });
    expect(error.message).toContain('Without the leading `model.`, 2 names');
  });
  test('nothing is loaded where every shape differs: such a run publishes nothing', async () => {
    const error = await failure(through(headerOf(AB), transfer({ target: spec({ a: ['F32', [5]], b: ['F32', [6]] }) })));
    expect(error.details).toMatchObject({ reason: 'nothing_fits', num_mismatches: 2 });
  });
  test('a non-tensor value in a state dict: skipped as not_a_tensor', async () => {
    const { plan } = await through(
      headerOf(AB, { nonTensors: [{ name: 'extra', is: 'a dict' }] }),
      weightsOnly({ target: spec({ ...AB, extra: ['F32', [1]] }) }),
    );
    expect(plan.skipped).toContainEqual({
      what: 'extra',
      reason: 'not_a_tensor',
      details: { is: 'a dict', source_shape: null, target_shape: [1] },
    });
  });
  test('index metadata: record key ckpt_model_name_to_index; null counts as absent', async () => {
    const tree = treeOf({ model_state_dict: {}, hyper_parameters: { data_indices: { __object__: { name_to_index: { t: 0, q: 1 } } } } });
    expect((await through(headerOf(AB, { tree }), weightsOnly())).record['ckpt_model_name_to_index']).toEqual({ t: 0, q: 1 });
    const none = treeOf({ model_state_dict: {}, hyper_parameters: null });
    expect((await through(headerOf(AB, { tree: none }), weightsOnly())).record).not.toHaveProperty('ckpt_model_name_to_index');
  });
  test('migration (chunking fix), on every load: a rename step of the plan, its count in migrations_applied', async () => {
    const shapes: Shapes = { 'model.model.processor.proc.1.blocks.1.w': ['F32', [1]], other: ['F32', [1]] };
    const tree = treeOf({ state_dict: {}, hyper_parameters: { config: { model: { processor: { num_layers: 4, num_chunks: 2 } } } } });
    for (const type of ['loader.weights_only', 'loader.cold_start', 'loader.warm_start']) {
      const { names, record } = await through(headerOf(shapes, { tree }), { type });
      expect(names).toEqual(['model.model.processor.proc.3.w', 'other']);
      expect(record['migrations_applied']).toEqual({ chunking_fix: 1 });
    }
  });
  test('migration: old-layout names without readable L, C -> warning', async () => {
    const { names, record } = await through(headerOf({ 'model.model.processor.proc.1.blocks.1.w': ['F32', [1]] }), weightsOnly());
    expect(names).toEqual(['model.model.processor.proc.1.blocks.1.w']);
    expect(record['warnings']).toEqual([expect.stringContaining('num_chunks')]);
  });
  describe('processor refresh: prefixes apply with or without the leading model.', () => {
    const stats: Shapes = {
      'model.pre_processors.x.mean': ['F32', [1]],
      'post_processors.x.mean': ['F32', [1]],
      'model.pre_processors_tendencies.x': ['F32', [1]],
      w: ['F32', [1]],
    };
    test('without a target those names are left out', async () => {
      expect((await through(headerOf(stats), weightsOnly({ refresh_states: true }))).names).toEqual([
        'model.pre_processors_tendencies.x',
        'w',
      ]);
      expect((await through(headerOf(stats), weightsOnly({ refresh_tendencies: true }))).names).not.toContain(
        'model.pre_processors_tendencies.x',
      );
    });
    test('without bytes: left out, an error under strict and warm_start', async () => {
      const target = spec(stats);
      const lax = await through(headerOf(stats), weightsOnly({ target, refresh_states: true }));
      expect(lax.names).toEqual(['model.pre_processors_tendencies.x', 'w']);
      expect(lax.record).toMatchObject({
        skipped_params: {
          'model.pre_processors.x.mean': 'refresh_without_values',
          'post_processors.x.mean': 'refresh_without_values',
        },
        num_skipped: 2,
        warnings: [expect.stringContaining('2 processor statistics are to be refreshed and were left out, as the target has no values')],
      });
      // None of it is said of names that fit.
      expect((await through(headerOf(stats), transfer({ target, refresh_states: true }))).record['warnings']).toEqual(
        lax.record['warnings'],
      );
      for (const stage of [
        weightsOnly({ target, strict: true, refresh_states: true }),
        { type: 'loader.warm_start', target, refresh_states: true },
      ]) {
        expect((await failure(through(headerOf(stats), stage))).details).toMatchObject({
          reason: 'refresh_without_values',
          num_missing: 2,
        });
      }
    });
  });
  test('an option fills an unselected target key from the reference’s bytes; a spec has none', async () => {
    const error = await failure(through(headerOf(AB), transfer({ target: spec(AB), fill: 'target' })));
    expect([error.code, error.details['config_path']]).toEqual(['CheckpointConfigError', 'stages[0].fill']);
  });
});

describe('9. Modifiers: freezing', () => {
  const NET: Shapes = {
    'm.enc.0.w': ['F32', [1]],
    'm.enc.1.w': ['F32', [1]],
    'm.dec.w': ['F32', [1]],
    'm.dec.num_batches_tracked': ['I64', []],
    alone: ['F32', [1]],
  };
  const freeze = (paths: readonly string[], options: JsonObject = {}): JsonObject => ({
    type: 'modifier.freezing',
    submodules_to_freeze: paths,
    ...options,
  });
  const after = (...stages: readonly JsonObject[]) => through(headerOf(NET), weightsOnly(), ...stages);

  test.each<[string, readonly string[], readonly string[]]>([
    ['an entry covers the whole subtree', ['m.enc'], ['m.enc.0.w', 'm.enc.1.w']],
    ['a.b.0', ['m.enc.0'], ['m.enc.0.w']],
    ['a bare name never matches deeper', ['enc'], []],
    ['a single tensor’s path is not a module', ['alone'], []],
    ['empty text = whole model', [''], ['m.enc.0.w', 'm.enc.1.w', 'm.dec.w', 'alone']],
    ['buffers are not parameters', ['m.dec'], ['m.dec.w']],
  ])('%s', async (_row, paths, frozen) => {
    const { plan } = await after(freeze(paths));
    expect(plan.frozen).toEqual(frozen);
    expect(publishedMetadata(plan)['frozen_parameters']).toEqual(frozen.length === 0 ? undefined : JSON.stringify(frozen));
  });
  test('empty list = nothing done or recorded', async () => {
    expect((await after(freeze([]))).record).not.toHaveProperty('modifiers_applied');
  });
  test('not found: warning, skipped; found but already frozen: reported with 0; each stage appends its own entry', async () => {
    const { record } = await after(freeze(['m.enc', 'nowhere']), freeze(['m.enc.0', 'm']));
    expect(record['modifiers_applied']).toEqual([
      {
        type: 'freezing',
        submodules: ['m.enc', 'nowhere'],
        frozen_modules: [{ name: 'm.enc', frozen_params: 2 }],
        total_frozen_params: 2,
        missing_submodules: ['nowhere'],
      },
      {
        type: 'freezing',
        submodules: ['m.enc.0', 'm'],
        frozen_modules: [
          { name: 'm.enc.0', frozen_params: 0 },
          { name: 'm', frozen_params: 1 },
        ],
        total_frozen_params: 1,
      },
    ]);
    expect(record['warnings']).toEqual([expect.stringContaining('no submodule nowhere')]);
  });
  test('strict -> CheckpointConfigError, details.missing_submodules = all of them, with suggestions', async () => {
    const error = await failure(after(freeze(['enc', 'm.decc', 'm.enc'], { strict: true })));
    expect(error.code).toBe('CheckpointConfigError');
    expect(error.details).toMatchObject({
      config_path: 'stages[1].submodules_to_freeze',
      missing_submodules: ['enc', 'm.decc'],
      suggestions: { enc: ['m.enc'] },
    });
  });
  test('a text instead of a list: an error with its path', async () => {
    const error = await failure(after({ type: 'modifier.freezing', submodules_to_freeze: 'encoder' }));
    expect([error.code, error.details['config_path']]).toEqual(['CheckpointConfigError', 'stages[1].submodules_to_freeze']);
  });
  test('weights are unchanged by freezing', async () => {
    const [plain, frozen] = [await after(), await after(freeze(['m']))];
    expect(frozen.plan.tensors).toEqual(plain.plan.tensors);
  });
  test.each(['lora', 'quantize', 'prune'])('announced but absent: %s', (type) => {
    expect(() => understandDocument({ stages: [{ type }] }, { types: [...catalog.keys()], parameters: {} })).toThrow('not available yet');
  });
});
