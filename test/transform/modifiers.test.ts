import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { CheckpointError } from '../../src/errors.ts';
import { renderTree } from '../../src/formats/torch/render-tree.ts';
import { publishedMetadata, type Plan } from '../../src/model/plan.ts';
import { castTensors } from '../../src/transform/cast-tensors.ts';
import { freezeModules } from '../../src/transform/freeze.ts';
import { attributesWithPrefixes, type Prefixes } from '../../src/transform/module-paths.ts';
import { compileGlob, compileRegex } from '../../src/transform/patterns.ts';
import { renameTensors, type RenameRules } from '../../src/transform/rename.ts';
import { chooseTensors } from '../../src/transform/select-tensors.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { targetOfHeader } from '../../src/transform/target.ts';
import { finish } from '../support/finish.ts';
import { headerOf, targetOf, treeOf, type Shapes } from '../support/headers.ts';

function planOf(shapes: Shapes): Plan {
  return selectWeights(headerOf(shapes), { skipUnsupported: false });
}

function errorOf(act: () => unknown): CheckpointError {
  try {
    act();
  } catch (error) {
    return error as CheckpointError;
  }
  throw new Error('it should have failed');
}

const NET: Shapes = {
  'model.encoder.0.weight': ['F32', [2]],
  'model.encoder.0.bias': ['F32', [2]],
  'model.encoder.norm.running_mean': ['F32', [2]],
  'model.encoder.norm.num_batches_tracked': ['I64', []],
  'model.decoder.weight': ['F64', [2]],
};
const names = (plan: Plan): readonly string[] => plan.tensors.map(({ name }) => name);

describe('globs', () => {
  test.each<[string, readonly string[], readonly string[]]>([
    ['*', ['a', 'a.b', ''], []],
    ['model.*.weight', ['model.a.weight', 'model.a.b.weight'], ['model.weight', 'xmodel.a.weight']],
    ['?.b', ['a.b'], ['.b', 'aa.b', 'axb']],
    ['[ab-d].x', ['a.x', 'c.x'], ['e.x']],
    ['[!a].x', ['b.x'], ['a.x']],
    ['{enc,dec}oder', ['encoder', 'decoder'], ['oder']],
    ['a\\*b', ['a*b'], ['axb']],
    ['a(b|c)+$', ['a(b|c)+$'], ['ab']],
  ])('%s', (glob, fits, fitsNot) => {
    const test = compileGlob(glob, 'x');
    expect(fits.filter((name) => !test(name))).toEqual([]);
    expect(fitsNot.filter((name) => test(name))).toEqual([]);
  });
  test('text and stars alone agree with the engine of all other globs', () => {
    const letters = (alphabet: string) => fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 12 });
    fc.assert(
      fc.property(letters('ab.*'), letters('ab.'), (glob, name) => {
        // An alternative of nothing and nothing takes the other way.
        expect([glob, name, compileGlob(glob, 'x')(name)]).toEqual([glob, name, compileGlob(`${glob}{,}`, 'x')(name)]);
      }),
      { numRuns: 3000 },
    );
  });
  test.each(['[a', '{a'])('%s is refused with its place', (glob) => {
    expect(errorOf(() => compileGlob(glob, 'stages[2].include[0]')).details).toMatchObject({ config_path: 'stages[2].include[0]' });
  });
});

describe('patterns from a document cannot stall a worker', () => {
  test('nested quantifiers over a long name', () => {
    const renamed = finish(
      renameTensors,
      planOf({ [`${'a'.repeat(2000)}b`]: ['F32', [1]] }),
      { rules: [{ pattern: '(a+)+$', replacement: '' }] },
      's',
    );
    expect(renamed.count).toBe(0);
    expect(compileGlob(`${'*a'.repeat(100)}b`, 's')('a'.repeat(4000))).toBe(false);
  });
  test.each([
    ['(?=x)', 'Lookaround'],
    ['(', 'is not a valid RE2 expression'],
    ['(a{1,1000}){1,1000}', 'is not a valid RE2 expression'],
    ['(ab|cd|ef|gh){1,999}', 'instructions'],
    ['a'.repeat(1001), 'characters'],
  ])('%s is refused', (pattern, says) => {
    const error = errorOf(() => compileRegex(pattern, 'stages[1].rules[0].pattern'));
    expect(error.code).toBe('CheckpointConfigError');
    expect(error.message).toContain(says);
  });
  test('very many names and a pattern that takes its time: others are let in between', () => {
    const names = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`model.layers.${index}.weight`, ['F32', [1]] as const]));
    const work = renameTensors(planOf(names), { rules: [{ pattern: '([a-z._0-9]?){200}[QZ]', replacement: '' }] }, 's');
    let slices = 0;
    while (work.next().done !== true) slices++;
    expect(slices).toBeGreaterThan(1);
    const quick = renameTensors(planOf(names), { rules: [{ pattern: '^model\\.', replacement: '' }] }, 's');
    expect(quick.next().done).toBe(true);
  });
  test('patterns that are too much together, and names that are too long for any', () => {
    const rules = Array.from({ length: 60 }, () => ({ pattern: '([a-z]?){100}!', replacement: '' }));
    expect(errorOf(() => finish(renameTensors, planOf({ a: ['F32', [1]] }), { rules }, 's')).message).toContain('together');
    const plan = planOf({ ['a'.repeat(5000)]: ['F32', [1]] });
    expect(errorOf(() => finish(chooseTensors, plan, { include: ['[a]*'], exclude: [] }, 's')).message).toContain('4096 at most');
    expect(finish(chooseTensors, plan, { include: ['a*'], exclude: [] }, 's').removed).toBe(0);
  });
  test('replacements that double a name again and again', () => {
    const rules = Array.from({ length: 60 }, () => ({ pattern: '^.*$', replacement: '$&$&' }));
    expect(errorOf(() => finish(renameTensors, planOf({ abc: ['F32', [1]] }), { rules }, 's')).message).toContain('characters');
  });
});

describe('rename', () => {
  test('prefix off, rules in order, prefix on', () => {
    const renamed = finish(
      renameTensors,
      planOf(NET),
      {
        stripPrefix: 'model.',
        rules: [
          { pattern: '^encoder\\.(\\d+)\\.', replacement: 'enc.$1.' },
          { pattern: '^enc\\.', replacement: 'blocks.' },
        ],
        addPrefix: 'net.',
      },
      's',
    );
    expect(names(renamed.plan)).toEqual([
      'net.blocks.0.weight',
      'net.blocks.0.bias',
      'net.encoder.norm.running_mean',
      'net.encoder.norm.num_batches_tracked',
      'net.decoder.weight',
    ]);
    expect(renamed.count).toBe(5);
  });
  test('a collision names both', () => {
    const error = errorOf(() => finish(renameTensors, planOf(NET), { rules: [{ pattern: '0\\.(weight|bias)', replacement: '0.w' }] }, 's'));
    expect(error.code).toBe('CheckpointIncompatibleError');
    expect(error.details).toEqual({
      reason: 'rename_collision',
      names: ['model.encoder.0.weight', 'model.encoder.0.bias'],
      name: 'model.encoder.0.w',
    });
  });
  test('a name of nothing, and a rule that fits nothing', () => {
    expect(errorOf(() => finish(renameTensors, planOf({ a: ['F32', [1]] }), { stripPrefix: 'a', rules: [] }, 's')).details).toMatchObject({
      reason: 'empty_name',
    });
    expect(finish(renameTensors, planOf(NET), { stripPrefix: 'nett.', rules: [] }, 's').warnings).toEqual([
      'strip_prefix `nett.` fits no name.',
    ]);
  });
  test('frozen names follow', () => {
    const { plan } = freezeModules(planOf(NET), undefined, { submodules: ['model.decoder'], strict: true, validateGradients: true }, 's');
    const renamed = finish(renameTensors, plan, { stripPrefix: 'model.', rules: [] }, 's').plan;
    expect(renamed.frozen).toEqual(['decoder.weight']);
    expect(publishedMetadata(renamed)['frozen_parameters']).toBe('["decoder.weight"]');
  });
});

describe('versions of modules, which name them by their paths', () => {
  const WRAPPED = { '': 1, module: 2, 'module.net': 3, 'module.net.1': 4, other: 5 };
  const modules = (paths: object) => treeOf({ _metadata: paths, _other: 'kept' });
  const PLAN: Plan = {
    ...planOf({ 'module.net.1.weight': ['F32', [2]], 'other.weight': ['F32', [2]] }),
    stateDictAttributes: modules(WRAPPED),
  };
  const shown = ({ stateDictAttributes: tree }: Plan): unknown =>
    tree === undefined ? undefined : renderTree({ tree, tensors: [], storages: [] }, tree.root);
  const renamed = (rules: Partial<RenameRules>): Plan => finish(renameTensors, PLAN, { rules: [], ...rules }, 'x').plan;

  test.each<[Prefixes, object]>([
    [{ stripPrefix: 'module.' }, { '': 2, net: 3, 'net.1': 4, other: 5 }],
    [{ addPrefix: 'model.' }, { model: 1, 'model.module': 2, 'model.module.net': 3, 'model.module.net.1': 4, 'model.other': 5 }],
    [
      { stripPrefix: 'module.', addPrefix: 'a.b.' },
      { 'a.b': 2, 'a.b.net': 3, 'a.b.net.1': 4, 'a.b.other': 5 },
    ],
    [{ addPrefix: 'my_' }, { '': 1, my_module: 2, 'my_module.net': 3, 'my_module.net.1': 4, my_other: 5 }],
    [{ stripPrefix: 'module.net.1.we' }, WRAPPED],
  ])('%j: are those of the modules that have the tensors now, by modifier and loader alike', (prefixes, expected) => {
    const plan = renamed(prefixes);
    expect(shown(plan)).toEqual({ _metadata: expected, _other: 'kept' });
    expect(plan.dropped).toEqual([]);
    const attributes = attributesWithPrefixes(PLAN.stateDictAttributes!, prefixes);
    expect(renderTree({ tree: attributes, tensors: [], storages: [] }, attributes.root)).toEqual(shown(plan));
    expect(shown(PLAN)).toEqual({ _metadata: WRAPPED, _other: 'kept' });
  });

  test('are left out and named where patterns rename tensors', () => {
    const plan = renamed({ rules: [{ pattern: 'net', replacement: 'body' }] });
    expect(shown(plan)).toBeUndefined();
    const reason = 'it names modules by their paths before the rules of modifier.rename';
    expect(plan.dropped).toEqual([
      { what: '_metadata', reason },
      { what: '_other', reason },
    ]);
  });
});

describe('select', () => {
  test('include without exclude, the rest skipped with a reason', () => {
    const chosen = finish(chooseTensors, planOf(NET), { include: ['*.encoder.*'], exclude: ['*.num_*', 'nothing'] }, 's');
    expect(names(chosen.plan)).toEqual(['model.encoder.0.weight', 'model.encoder.0.bias', 'model.encoder.norm.running_mean']);
    expect(chosen.plan.skipped).toEqual([
      { what: 'model.encoder.norm.num_batches_tracked', reason: 'not_selected' },
      { what: 'model.decoder.weight', reason: 'not_selected' },
    ]);
    expect(chosen.warnings).toEqual(['exclude `nothing` fits no name.']);
  });
  test('nothing left is an error with a near name', () => {
    const error = errorOf(() => finish(chooseTensors, planOf(NET), { include: ['model.decoder.wieght'], exclude: [] }, 's'));
    expect(error.details).toMatchObject({ reason: 'nothing_selected' });
    expect(error.message).toContain('model.decoder.weight');
  });
});

test('cast: the first rule decides, from the source, floats only', () => {
  const recast = finish(
    castTensors,
    planOf(NET),
    [
      { names: '*.decoder.*', dtype: 'F32' },
      { names: '*', dtype: 'BF16' },
      { names: 'none', dtype: 'F16' },
    ],
    's',
  );
  expect(recast.plan.tensors.map(({ dtype, origin }) => `${origin.dtype} ${dtype}`)).toEqual([
    'F32 BF16',
    'F32 BF16',
    'F32 BF16',
    'I64 I64',
    'F64 F32',
  ]);
  expect(recast.casts).toHaveLength(4);
  expect(recast.left).toBe(1);
  expect(recast.warnings).toEqual(['cast `none` fits no name.']);
});

describe('freeze', () => {
  const rules = { strict: false, validateGradients: true };
  test('covers a subtree, counts parameters once, leaves buffers', () => {
    const frozen = freezeModules(planOf(NET), undefined, { ...rules, submodules: ['model.encoder', 'model.encoder.0', 'model'] }, 's');
    expect(frozen.entry).toEqual({
      type: 'freezing',
      submodules: ['model.encoder', 'model.encoder.0', 'model'],
      frozen_modules: [
        { name: 'model.encoder', frozen_params: 2 },
        { name: 'model.encoder.0', frozen_params: 0 },
        { name: 'model', frozen_params: 1 },
      ],
      total_frozen_params: 3,
    });
    expect(frozen.plan.frozen).toEqual(['model.encoder.0.weight', 'model.encoder.0.bias', 'model.decoder.weight']);
  });
  test('strict names all missing paths before anything is frozen, with full paths to choose from', () => {
    const error = errorOf(() =>
      freezeModules(
        planOf(NET),
        undefined,
        { ...rules, strict: true, submodules: ['encoder', 'model.decodr', 'model.decoder.weight'] },
        'stages[2].submodules_to_freeze',
      ),
    );
    expect(error.code).toBe('CheckpointConfigError');
    expect(error.details).toMatchObject({
      config_path: 'stages[2].submodules_to_freeze',
      missing_submodules: ['encoder', 'model.decodr', 'model.decoder.weight'],
      suggestions: { encoder: ['model.encoder'], 'model.decodr': ['model.decoder', 'model.encoder'] },
    });
  });
  test('the target says which names there are and what is a buffer', () => {
    const target = targetOf({ 'a.w': ['F32', [1]], 'a.b': ['F32', [1]], 'c.w': ['F32', [1]] });
    const marked = { ...target, tensors: target.tensors.map((tensor) => ({ ...tensor, buffer: tensor.name === 'a.b' })) };
    const frozen = freezeModules(planOf({ 'c.w': ['F32', [1]] }), marked, { ...rules, submodules: ['a'] }, 's');
    expect(frozen.plan.frozen).toEqual(['a.w']);
  });
});

describe('names that are one tensor', () => {
  const shapes: Shapes = { 'emb.weight': ['F32', [4, 3]], 'head.weight': ['F32', [4, 3]], 'head.bias': ['F32', [4]] };
  const header = headerOf(shapes);
  const tied = { ...header, tensors: header.tensors.map((tensor, index) => (index === 1 ? { ...tensor, storage: 0 } : tensor)) };
  const rules = { strict: false, validateGradients: true };

  test('are frozen together and count once, as a model ties them', () => {
    const plan = selectWeights(tied, { skipUnsupported: false });
    const frozen = freezeModules(plan, undefined, { ...rules, submodules: ['head', 'emb'] }, 's');
    expect(frozen.plan.frozen).toEqual(['emb.weight', 'head.weight', 'head.bias']);
    expect(frozen.entry).toMatchObject({
      frozen_modules: [
        { name: 'head', frozen_params: 2 },
        { name: 'emb', frozen_params: 0 },
      ],
      total_frozen_params: 2,
    });
  });

  test('as the target has them, where there is one', () => {
    const plan = selectWeights(header, { skipUnsupported: false });
    const submodules = ['head'];
    expect(freezeModules(plan, undefined, { ...rules, submodules }, 's').plan.frozen).toEqual(['head.weight', 'head.bias']);
    const target = targetOfHeader(tied, 'file:///t');
    expect(freezeModules(plan, target, { ...rules, submodules }, 's').plan.frozen).toEqual(['emb.weight', 'head.weight', 'head.bias']);
  });
});

test('the whole model below a prefix', () => {
  const frozen = freezeModules(planOf(NET), undefined, { submodules: [''], prefix: 'model.', strict: true, validateGradients: true }, 's');
  expect(frozen.plan.frozen.length).toBeGreaterThan(2);
});

test('100 000 tensors through rename, select and freezing', () => {
  const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`model.layers.${i}.mlp.weight`, ['F32', [1]] as const]));
  const renamed = finish(
    renameTensors,
    planOf(many),
    { stripPrefix: 'model.', rules: [{ pattern: '\\.mlp\\.', replacement: '.ffn.' }] },
    's',
  ).plan;
  const chosen = finish(chooseTensors, renamed, { include: ['layers.*'], exclude: ['*.9[0-9][0-9][0-9][0-9].*'] }, 's').plan;
  const frozen = freezeModules(chosen, undefined, { strict: true, validateGradients: true, submodules: ['layers.17', 'layers'] }, 's').plan;
  expect(frozen.tensors).toHaveLength(90_000);
  expect(frozen.frozen).toHaveLength(90_000);
});

test.each([
  ['[]a]x', ']x', true],
  ['[]a]x', 'ax', true],
  ['[!]a]x', ']x', false],
  ['[!]a]x', 'bx', true],
  ['[^a]', '^', true],
] as const)('a bracket or a caret that stands first in a class is a character of it: %s on %s', (glob, name, fits) => {
  expect(compileGlob(glob, 'include[0]')(name)).toBe(fits);
});

test('what is wrong with a glob is said of the glob', () => {
  expect(() => compileGlob('layer[z-a]', 'include[0]')).toThrow('`layer[z-a]` is not a glob that can be matched');
});
