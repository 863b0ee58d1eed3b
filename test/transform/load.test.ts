import { describe, expect, test } from '@jest/globals';
import type { CheckpointError, JsonObject } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { renderTree } from '../../src/formats/torch/render-tree.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import type { Header, Tensor } from '../../src/model/header.ts';
import type { LoadRules } from '../../src/transform/load-rules.ts';
import { loadWeights } from '../../src/transform/load.ts';
import { targetOfHeader, targetOfSpec } from '../../src/transform/target.ts';
import { headerOf, treeOf, targetOf, type Shapes } from '../support/headers.ts';
import { RULES } from '../support/load-rules.ts';
import { fixture } from '../support/project.ts';

test('files of ranks that may not be all of them are warned of', () => {
  const header = headerOf({ w: ['F32', [2]] });
  expect(loadWeights(header, undefined, RULES).warnings).toEqual([]);
  const findings = [
    { code: 'ranks_unknown', message: 'read from 2 files' },
    { code: 'archive_comment', message: 'a comment' },
  ];
  expect(loadWeights({ ...header, findings }, undefined, RULES).warnings).toEqual(['Rows of tensors may be missing: read from 2 files.']);
});

test('that nothing says which tensors of an old scripted module are buffers is a warning', () => {
  const findings = [{ code: 'buffers_unknown', message: 'it is of torch 1.4' }];
  const { warnings } = loadWeights({ ...headerOf({ a: ['F32', [2]] }), findings }, undefined, RULES);
  expect(warnings).toEqual(['Plain attributes may be among the tensors: it is of torch 1.4.']);
});

const TRANSFER: LoadRules = { ...RULES, skipMismatched: true, fill: 'target' };

async function headerAt(path: string): Promise<Header> {
  const source = await openLocalFile(fixture(path));
  try {
    return await readHeader(source);
  } finally {
    await source.close();
  }
}

function errorOf(act: () => unknown): CheckpointError {
  try {
    act();
  } catch (error) {
    return error as CheckpointError;
  }
  throw new Error('it should have failed');
}

test('transfer between real checkpoints: per-name reasons, casts, and a complete file in target order', async () => {
  const header = await headerAt('good/transfer_source.ckpt');
  const reference = await headerAt('good/transfer_target.pt');
  const target = targetOfHeader(reference, 'file:///t.pt');
  const loaded = loadWeights(header, target, TRANSFER);
  expect(loaded.transferred).toEqual(
    ['encoder.weight', 'encoder.bias', 'norm.running_mean', 'norm.num_batches_tracked', 'statistics'].sort(inOrderOf(header)),
  );
  expect(Object.fromEntries(loaded.skipped.map(({ what, reason }) => [what, reason]))).toEqual({
    'decoder.weight': 'shape_mismatch',
    'decoder.bias': 'shape_mismatch',
    'pos.embed': 'shape_mismatch',
    'head.old_bias': 'not_in_target',
  });
  expect(loaded.skipped.find(({ what }) => what === 'decoder.weight')!.details).toEqual({ source_shape: [2, 8], target_shape: [5, 8] });
  expect(loaded.missing).toEqual(['head.bias', 'adapter.weight'].sort(inOrderOf(reference)));
  expect(loaded.casts).toEqual([{ name: 'statistics', from: 'F64', to: 'F32' }]);
  expect(loaded.plan.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(
    target.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
  );
  const files = loaded.plan.tensors.map(({ origin }) => loaded.plan.storages[origin.storage]!.file);
  expect(loaded.plan.files).toHaveLength(2);
  expect(files.filter((file) => file === 0)).toHaveLength(5);
  expect(files.filter((file) => file === 1)).toHaveLength(loaded.filled.length);
});

function inOrderOf(header: Header): (a: string, b: string) => number {
  const order = new Map(header.weights.map(({ name }, index) => [name, index]));
  return (a, b) => order.get(a)! - order.get(b)!;
}

test('a loader after a loader overlays: what it transferred wins, what it filled does not', () => {
  const target = targetOf({ a: ['F32', [2]], b: ['F32', [2]] });
  const first = loadWeights(headerOf({ a: ['F32', [2]], b: ['F32', [2]], c: ['F32', [1]] }, {}, 'file:///1'), undefined, RULES);
  const second = loadWeights(headerOf({ a: ['F32', [2]] }, {}, 'file:///2'), target, TRANSFER, first.plan);
  const whence = second.plan.tensors.map(({ name, origin }) => [name, second.plan.files[second.plan.storages[origin.storage]!.file]!.uri]);
  expect(whence).toEqual([
    ['a', 'file:///2'],
    ['b', 'file:///1'],
  ]);
  // Of this load alone: `b` was there, and `c` has no place in the model.
  expect(second.filled).toEqual([]);
  expect(second.skipped).toEqual([{ what: 'c', reason: 'not_in_target', details: { source_shape: [1], target_shape: null } }]);
});

test('a loader after a loader leaves what the last target says, in its order', () => {
  const shapes: Shapes = { k: ['I64', [2]], y: ['F32', [3]], x: ['F32', [2]], w: ['F64', [1]], n: ['F32', [1]] };
  const first = loadWeights(headerOf(shapes, {}, 'file:///1'), undefined, RULES);
  const target = targetOf({ n: ['F32', [1]], w: ['F32', []], x: ['F16', [2]], y: ['F32', [4]], k: ['F32', [2]], z: ['F32', [2]] });
  for (const fill of ['target', 'none'] as const) {
    const { plan, filled, casts } = loadWeights(headerOf({ n: ['F32', [1]] }, {}, 'file:///2'), target, { ...TRANSFER, fill }, first.plan);
    const uriOf = (storage: number): string => plan.files[plan.storages[storage]!.file]!.uri.slice(8);
    const own =
      fill === 'target'
        ? [
            ['y', 'target.ckpt'],
            ['k', 'target.ckpt'],
            ['z', 'target.ckpt'],
          ]
        : [];
    expect(plan.tensors.map(({ name, origin }) => [name, uriOf(origin.storage)])).toEqual([['n', '2'], ['w', '1'], ['x', '1'], ...own]);
    expect(
      plan.tensors.every(({ name, dtype, shape }) => {
        const wanted = target.tensors.find((each) => each.name === name)!;
        return dtype === wanted.dtype && String(shape) === String(wanted.shape);
      }),
    ).toBe(true);
    expect(filled).toEqual(fill === 'target' ? ['y', 'k', 'z'] : []);
    expect(casts.map(({ name }) => name)).toEqual(['w', 'x']);
    expect(plan.skipped.map(({ what, reason }) => [what, reason])).toEqual([
      ['y', 'shape_mismatch'],
      ['k', 'other_kind'],
    ]);
  }
});

test('renamed modules are hinted at', () => {
  const source = headerOf({ 'encoder.0.weight': ['F32', [2]], 'encoder.0.bias': ['F32', [2]], same: ['F32', [1]] });
  const target = targetOf({ 'trunk.0.weight': ['F32', [2]], 'trunk.0.bias': ['F32', [2]], same: ['F32', [1]] });
  const error = errorOf(() => loadWeights(source, target, { ...RULES, strict: true }));
  expect(error.details).toMatchObject({
    missing_keys: ['trunk.0.weight', 'trunk.0.bias'],
    num_unexpected: 2,
    hints: [{ from: 'encoder.', to: 'trunk.', count: 2 }],
  });
  expect(error.message).toContain('With `trunk.` for the leading `encoder.`, 2 names');
});

test('a misspelt name is paired with the near one', () => {
  const error = errorOf(() =>
    loadWeights(headerOf({ wieght: ['F32', [2]], x: ['F32', [1]] }), targetOf({ weight: ['F32', [2]], x: ['F32', [1]] }), {
      ...RULES,
      strict: true,
    }),
  );
  expect(error.details['near_names']).toEqual({ wieght: 'weight' });
});

test.each<[string, unknown, string]>([
  ['a list', [], 'not a mapping'],
  ['empty', {}, 'no tensor'],
  ['a negative size', { w: { shape: [-1], dtype: 'F32' } }, 'shape'],
  ['an unknown dtype', { w: { shape: [1], dtype: 'float31' } }, 'dtype'],
  ['no dtype', { w: { shape: [1] } }, 'missing'],
  ['a shape beyond memory', { w: { shape: [2 ** 40, 2 ** 40], dtype: 'F32' } }, 'beyond'],
])('a spec that is %s is refused with its place', (_name, spec, says) => {
  const error = errorOf(() => targetOfSpec(spec, { configPath: 'stages[1].target' }));
  expect(error.code).toBe('CheckpointConfigError');
  expect(error.message).toContain(says);
  expect(String((error.details as JsonObject)['config_path'])).toContain('stages[1].target');
});

test('a spec takes dtypes as torch names them, too', () => {
  const { tensors } = targetOfSpec(
    { a: { shape: [], dtype: 'torch.bfloat16' }, b: { shape: [2], dtype: 'long' } },
    { uri: 'file:///s.json' },
  );
  expect(tensors.map(({ dtype }) => dtype)).toEqual(['BF16', 'I64']);
});

test('100 000 names that nearly all differ are judged with hints', () => {
  const many = (prefix: string): Record<string, readonly ['F32', readonly number[]]> =>
    Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`${prefix}.layer.${i}.weight`, ['F32', [1]] as const]));
  const error = errorOf(() => loadWeights(headerOf(many('model.net')), targetOf(many('net')), RULES));
  expect(error.details).toMatchObject({
    reason: 'no_common_keys',
    num_missing: 100_000,
    hints: [{ from: 'model.', to: '', count: 100_000 }],
  });
});

test('a target without dense values for what the source lacks is not complete, and says so', () => {
  const target = targetOf({ a: ['F32', [2]], b: ['F32', [2]] });
  const { origin: _origin, ...without } = target.tensors[1]!;
  const loaded = loadWeights(headerOf({ a: ['F32', [2]] }), { ...target, tensors: [target.tensors[0]!, without] }, TRANSFER);
  expect(loaded.plan.tensors.map(({ name }) => name)).toEqual(['a']);
  expect(loaded.warnings).toEqual([expect.stringContaining('1 names of the target are not published')]);
});

describe('statistics that are to be refreshed', () => {
  const source = headerOf({ 'pre_processors.a': ['F32', [2]], 'pre_processors.b': ['F32', [3]], w: ['F32', [1]] });
  const rules: LoadRules = { ...RULES, refreshStates: true };
  const reasonsOf = ({ skipped }: ReturnType<typeof loadWeights>) => skipped.map(({ what, reason }) => [what, reason]);

  test('without a target are skipped and warned of', () => {
    const loaded = loadWeights(source, undefined, rules);
    expect(reasonsOf(loaded)).toEqual([
      ['pre_processors.a', 'refresh_without_values'],
      ['pre_processors.b', 'refresh_without_values'],
    ]);
    expect(loaded.warnings).toEqual([
      expect.stringContaining('as there is no target to take them from: pre_processors.a, pre_processors.b.'),
    ]);
  });

  test('that the target has no values for, or does not have at all, are skipped; the others come from it', () => {
    const target = targetOf({ 'pre_processors.a': ['F32', [2]], 'pre_processors.c': ['F32', [4]], w: ['F32', [1]] });
    const { origin: _origin, ...without } = target.tensors[1]!;
    const loaded = loadWeights(
      source,
      { ...target, tensors: [target.tensors[0]!, without, target.tensors[2]!] },
      { ...TRANSFER, refreshStates: true },
    );
    expect(loaded.refreshed).toEqual(['pre_processors.a']);
    expect(loaded.skipped).toEqual([
      { what: 'pre_processors.c', reason: 'refresh_without_values', details: { source_shape: null, target_shape: [4] } },
      { what: 'pre_processors.b', reason: 'not_in_target', details: { source_shape: [3], target_shape: null } },
    ]);
    // The source lacks none of the others.
    expect(loaded.warnings).toEqual([expect.stringContaining('1 processor statistics are to be refreshed')]);
  });

  test('that an earlier load left stay as they are', () => {
    const first = loadWeights(source, undefined, RULES);
    const loaded = loadWeights(
      headerOf({ w: ['F32', [1]] }),
      targetOfSpec({ 'pre_processors.a': { shape: [2], dtype: 'F32' }, w: { shape: [1], dtype: 'F32' } }, { configPath: 'target' }),
      rules,
      first.plan,
    );
    expect(loaded.plan.tensors.map(({ name }) => name)).toEqual(['pre_processors.a', 'w']);
    expect(reasonsOf(loaded)).toEqual([['pre_processors.b', 'not_in_target']]);
    expect(loaded.warnings).toEqual([]);
  });
});

describe('names that are one tensor in the target', () => {
  const shapes: Shapes = {
    'emb.weight': ['F32', [2, 3]],
    'mid.weight': ['F32', [2, 3]],
    'head.weight': ['F32', [2, 3]],
    other: ['F32', [2, 3]],
  };
  /** Embedding and head are tied; `mid` shows the same storage in another way. */
  const reference = headerOf(shapes, {}, 'file:///target.ckpt');
  const [emb, mid, , other] = reference.tensors as [Tensor, Tensor, Tensor, Tensor];
  const target = targetOfHeader(
    { ...reference, tensors: [emb, { ...mid, storage: 0, shape: [2, 3], stride: [1, 2] }, { ...emb, requiresGrad: true }, other] },
    'file:///target.ckpt',
  );
  const source = headerOf({ 'emb.weight': ['F16', [2, 3]] });

  test('what the source lacks takes the value of the transferred one, in the same place, and is not filled', () => {
    const { plan, tied, filled, transferred, missing } = loadWeights(source, target, TRANSFER);
    expect(transferred).toEqual(['emb.weight']);
    expect(tied).toEqual([{ name: 'head.weight', to: 'emb.weight' }]);
    expect(filled).toEqual(['mid.weight', 'other']);
    expect(missing).toEqual(['mid.weight', 'head.weight', 'other']);
    expect(plan.tensors.map(({ name }) => name)).toEqual(Object.keys(shapes));
    const { name: _name, ...head } = plan.tensors[2]!;
    expect({ ...head, name: 'emb.weight' }).toEqual(plan.tensors[0]);
    expect(head).toEqual({ dtype: 'F32', shape: [2, 3], origin: source.tensors[0] });
  });

  test('what does not fit takes it, too', () => {
    const { tied, filled } = loadWeights(headerOf({ 'emb.weight': ['F32', [2, 3]], 'head.weight': ['F32', [9, 3]] }), target, TRANSFER);
    expect(tied).toEqual([{ name: 'head.weight', to: 'emb.weight' }]);
    expect(filled).toEqual(['mid.weight', 'other']);
  });

  test('without filling it is left out; where nothing was transferred it is filled', () => {
    const none = loadWeights(source, target, { ...TRANSFER, fill: 'none' });
    expect(none.plan.tensors.map(({ name }) => name)).toEqual(['emb.weight']);
    expect(none.tied).toEqual([]);
    const both = loadWeights(headerOf({ other: ['F32', [2, 3]] }), target, TRANSFER);
    expect(both.tied).toEqual([]);
    expect(both.filled).toEqual(['emb.weight', 'mid.weight', 'head.weight']);
  });

  test('over an earlier load it wins as the transferred one does', () => {
    const first = loadWeights(headerOf(shapes, {}, 'file:///1'), undefined, RULES);
    const { plan } = loadWeights(source, target, TRANSFER, first.plan);
    const uriOf = (at: number): string => plan.files[plan.storages[plan.tensors[at]!.origin.storage]!.file]!.uri;
    expect([0, 1, 2, 3].map(uriOf)).toEqual(['file:///source.ckpt', 'file:///1', 'file:///source.ckpt', 'file:///1']);
  });
});

describe('a prefix of the source that the target has not', () => {
  const header = headerOf({ 'model.a': ['F32', [2]], 'model.b': ['F32', [3]], other: ['F32', [1]] });
  const target = targetOf({ a: ['F32', [2]], b: ['F32', [3]], other: ['F32', [1]] });

  test('is taken away before names are compared', () => {
    const { transferred, missing, unexpected, plan } = loadWeights(header, target, { ...RULES, strict: true, stripPrefix: 'model.' });
    expect({ transferred, missing, unexpected }).toEqual({ transferred: ['a', 'b', 'other'], missing: [], unexpected: [] });
    expect(plan.tensors.map(({ name }) => name)).toEqual(['a', 'b', 'other']);
    const both = loadWeights(header, undefined, { ...RULES, stripPrefix: 'model.', addPrefix: 'net.' });
    expect(both.transferred).toEqual(['net.a', 'net.b', 'net.other']);
  });

  test('a training state that goes along is said to be for the old names', () => {
    const tree = treeOf({ model_state_dict: {}, optimizer_state_dict: { state: { 'model.a': {} } } });
    const warningsOf = (rules: Partial<LoadRules>): readonly string[] => {
      const kept = headerOf({ 'model.a': ['F32', [2]], other: ['F32', [1]] }, { tree });
      return loadWeights(kept, undefined, { ...RULES, keepTrainingState: true, ...rules }).warnings;
    };
    expect(warningsOf({ stripPrefix: 'model.' })).toEqual([expect.stringContaining('before 1 of them were renamed')]);
    expect(warningsOf({ addPrefix: 'net.' })).toEqual([expect.stringContaining('before 2 of them were renamed')]);
    expect(warningsOf({ stripPrefix: 'model.', keepTrainingState: false })).toEqual([]);
    expect(warningsOf({})).toEqual([]);
  });

  test("versions of the source's modules go along under the new paths", async () => {
    const source = await headerAt('good/state_dict_with_metadata.pt');
    const pathsOf = (rules: Partial<LoadRules>): readonly string[] => {
      const tree = loadWeights(source, undefined, { ...RULES, ...rules }).plan.stateDictAttributes!;
      return Object.keys((renderTree({ tree, tensors: [], storages: [] }, tree.root) as { _metadata: object })._metadata);
    };
    const before = pathsOf({});
    expect(before.slice(0, 2)).toEqual(['', expect.any(String)]);
    const after = before.map((path) => (path === '' ? 'model' : `model.${path}`));
    expect(pathsOf({ addPrefix: 'model.' })).toEqual(after);
  });

  test('is what the error without it says', () => {
    const error = errorOf(() => loadWeights(headerOf({ 'model.a': ['F32', [2]], 'model.b': ['F32', [3]] }), target, RULES));
    expect(error.message).toContain('`strip_prefix: model.` of the loader');
  });

  test('two names that become one, or nothing, are refused; a prefix that fits no name is a warning', () => {
    const strip = (shapes: Shapes, stripPrefix = 'model.') => loadWeights(headerOf(shapes), target, { ...RULES, stripPrefix });
    expect(errorOf(() => strip({ 'model.a': ['F32', [2]], a: ['F32', [2]] })).details).toMatchObject({
      reason: 'rename_collision',
      names: ['model.a', 'a'],
    });
    expect(errorOf(() => strip({ 'model.': ['F32', [2]] })).details).toMatchObject({ reason: 'empty_name' });
    expect(strip({ a: ['F32', [2]] }, 'module.').warnings).toContain('strip_prefix `module.` fits no name.');
  });
});

test('a dict of tensors in a state dict is left out, and said', () => {
  const nonTensors = [
    { name: 'extra', is: 'a dict' },
    { name: 'encoder', is: 'a dict', tensors: 7 },
  ];
  const { warnings, skipped } = loadWeights(headerOf({ a: ['F32', [2]] }, { nonTensors }), undefined, RULES);
  expect(skipped.map(({ what }) => what)).toEqual(['extra', 'encoder']);
  expect(warnings).toEqual([expect.stringContaining('encoder is a dict with tensors (7), which are left out')]);
});

test('attributes are left out, which is recorded, and said of those that hold tensors', () => {
  const attributes = [
    { name: 'a.__dict__', is: 'attributes of a tensor: scale', tensors: 1 },
    { name: 'b.__dict__', is: 'attributes of a tensor: tag' },
  ];
  const header = headerOf({ a: ['F32', [2]], b: ['F32', [2]] }, { attributes });
  for (const keepTrainingState of [false, true]) {
    const { warnings, plan } = loadWeights(header, undefined, { ...RULES, keepTrainingState });
    expect(plan.dropped).toEqual([
      { what: 'a.__dict__', reason: 'attributes of a tensor: scale', details: { tensors: 1 } },
      { what: 'b.__dict__', reason: 'attributes of a tensor: tag' },
    ]);
    expect(warnings).toEqual([expect.stringContaining('a.__dict__ (attributes of a tensor: scale) holds tensors (1), which are left out')]);
  }
});

test('of very many values with tensors ten lines say it', () => {
  const nonTensors = Array.from({ length: 12 }, (_, at) => ({ name: `pair${at}`, is: 'a tuple', tensors: 2 }));
  const { warnings } = loadWeights(headerOf({ a: ['F32', [2]] }, { nonTensors }), undefined, RULES);
  expect(warnings).toHaveLength(10);
  expect(warnings[0]).toContain(
    'pair0 is a tuple with tensors (2), which are left out: a state dict is flat. Save them under names of their own.',
  );
  expect(warnings[9]).toContain('3 more values of the state dict hold tensors (6)');
});

test('a value whose tensors have no dense form is refused as such a tensor is, and may be skipped', () => {
  const header = headerOf({ a: ['F32', [2]] }, { nonTensors: [{ name: 'packed', is: 'a tuple', tensors: 2, unsupported: 'quantized' }] });
  expect(errorOf(() => loadWeights(header, undefined, RULES)).message).toContain('packed (unsupported: quantized, in a tuple)');
  const { warnings } = loadWeights(header, undefined, { ...RULES, skipUnsupported: true });
  expect(warnings).toEqual([expect.stringContaining('packed is a tuple with tensors (2)')]);
});
