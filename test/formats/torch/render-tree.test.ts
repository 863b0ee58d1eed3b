/** What a checkpoint holds beside its weights, as JSON. */
import { describe, expect, test } from '@jest/globals';
import type { Json } from '../../../src/errors.ts';
import { renderTree } from '../../../src/formats/torch/render-tree.ts';
import type { Header } from '../../../src/model/header.ts';
import type { ValueNode } from '../../../src/model/value.ts';
import { EXPECTED, fixture } from '../../support/project.ts';
import { headerOf } from '../../support/published.ts';

function at(header: Header, key: string): number {
  const root = header.tree!.nodes[header.tree!.root] as { entries: readonly (readonly [number, number])[] };
  return root.entries.find(([each]) => header.tree!.nodes[each] === key)![1];
}

async function hyperParameters(path: string): Promise<Readonly<Record<string, Json>>> {
  const header = await headerOf(fixture(path));
  return renderTree({ ...header, tree: header.tree! }, at(header, 'hyper_parameters')) as Readonly<Record<string, Json>>;
}

/** A rendering in the words of `expected.json`. */
function spelled(value: Json): unknown {
  if (typeof value === 'number') return { int: String(value) };
  if (typeof value === 'string') return { str: value };
  const { $int, $float, $bytes } = value as Readonly<Record<string, string>>;
  if ($int !== undefined) return { int: $int };
  if ($float !== undefined) return { float: $float === '-0' ? '-0.0' : $float };
  return { bytes_hex: Buffer.from($bytes!, 'base64').toString('hex') };
}

describe('fixtures', () => {
  const rich = Object.entries(EXPECTED.good).filter(([, { values }]) => values !== undefined);

  test.each(rich)('%s has the values that Python gives', async (path, { values }) => {
    const header = await headerOf(fixture(path));
    const rendered = renderTree({ ...header, tree: header.tree! }, header.tree!.root);
    const found = Object.keys(values!).map((place) => {
      const value = place.split('.').reduce<Json>((held, key) => (held as Readonly<Record<string, Json>>)[key]!, rendered);
      return [place, spelled(value)];
    });
    expect(Object.fromEntries(found)).toEqual(values);
  });

  test.each(['2', '4', '5'])('objects of many classes, written in protocol %s', async (protocol) => {
    const found = await hyperParameters(`good/lightning_rich_hparams_p${protocol}.ckpt`);
    expect(found).toMatchObject({
      config: {
        model: { width: 8, layers: [16, 32], dropout: null, name: '${data.name}-net' },
        data: { name: 'o32', frequency: '6h', resolution: 0.25 },
        seed: 1234567890123,
      },
      list_config: ['a', { b: 1 }],
      np_array: {
        $array: {
          dtype: 'i2',
          shape: [2, 3],
          values: [
            [0, 1, 2],
            [3, 4, 5],
          ],
        },
      },
      np_fortran: {
        $array: {
          dtype: 'f8',
          shape: [2, 3],
          values: [
            [0, 1, 2],
            [3, 4, 5],
          ],
        },
      },
      np_strings: { $array: { dtype: 'U3', shape: [2], values: ['t2m', 'msl'] } },
      np_float: 0.1,
      np_int: -5,
      np_bool: true,
      path: 'data/train.zarr',
      stage: { $class: 'fixture_models.Stage', args: ['train'] },
      args: { lr: 0.001, betas: [0.9, 0.999], name: 'base' },
      created: '2024-01-02T03:04:05.000678+00:00',
      date: '2024-02-29',
      step: { $seconds: 21600 },
      uuid: '00000000-0000-0000-0000-000000001234',
      decimal: '1.10',
      fraction: '1/3',
      complex: { $complex: [1, -2] },
      frozenset: { $set: [1, 2] },
      counter: { a: 2, b: 1, c: 1 },
      defaultdict: { a: [1] },
      deque: [1, 2],
      grid: { $class: 'fixture_models.Grid', args: [32, 64] },
      device: 'cpu',
      dtype: 'torch.bfloat16',
      size: [2, 3],
    });
  });

  test('what contains itself is named, not followed', async () => {
    expect(JSON.stringify(await hyperParameters('good/lightning_cyclic_hparams.ckpt'))).toContain('"$cycle":true');
  });

  test('keys of the top can be left out', async () => {
    const header = await headerOf(fixture('good/lightning_trained.ckpt'));
    const without = new Set(['state_dict', 'hyper_parameters']);
    const found = renderTree({ ...header, tree: header.tree! }, header.tree!.root, { without }) as Readonly<Record<string, Json>>;
    expect(Object.keys(found)).not.toContain('state_dict');
    expect(found).toMatchObject({
      epoch: 1,
      global_step: 8,
      optimizer_states: [{ state: { 0: { step: { $tensor: { dtype: 'F32', shape: [] } } } } }],
    });
  });
});

describe('bounds', () => {
  const shown = (nodes: readonly ValueNode[], root = nodes.length - 1): Json =>
    renderTree({ tree: { root, nodes }, tensors: [], storages: [] }, root);

  test('shared values that would double with each level', () => {
    const nodes: ValueNode[] = ['x'];
    for (let level = 0; level < 60; level++) nodes.push({ kind: 'list', items: [level, level] });
    expect(JSON.stringify(shown(nodes)).length).toBeLessThan(500_000);
  });

  test('depth, also through classes that are shown without a level of their own', () => {
    const config: ValueNode[] = ['_content', 1];
    for (let level = 0; level < 5000; level++) {
      config.push({ kind: 'dict', entries: [[0, config.length - 1]] });
      config.push({ kind: 'object', module: 'omegaconf.dictconfig', name: 'DictConfig', state: config.length - 1 });
    }
    expect(JSON.stringify(shown(config)).length).toBeLessThan(10_000);
    const sizes: ValueNode[] = [1];
    for (let level = 0; level < 5000; level++) {
      sizes.push({ kind: 'tuple', items: [sizes.length - 1] }, { kind: 'tuple', items: [sizes.length] });
      sizes.push({ kind: 'plain', class: 'torch.Size', value: sizes.length - 1 });
    }
    expect(JSON.stringify(shown(sizes)).length).toBeLessThan(10_000);
  });

  test('long lists, texts and bytes say what is missing', () => {
    expect(shown(['x'.repeat(5000)])).toMatch(/^x{2000}… \(3000 more characters\)$/);
    expect(shown([{ kind: 'bytes', base64: Buffer.alloc(150).toString('base64') }])).toMatchObject({ $more: 50 });
    const list = shown([1, { kind: 'list', items: Array.from({ length: 300 }, () => 0) }]) as readonly Json[];
    expect(list.slice(199)).toEqual([1, { $more: 100 }]);
  });

  test('keys that JSON lacks, and keys that mean something to JavaScript', () => {
    expect(shown(['__proto__', 1, { kind: 'dict', entries: [[0, 1]] }])).toEqual(JSON.parse('{"__proto__": 1}'));
    expect(shown(['$int', 1, { kind: 'dict', entries: [[0, 1]] }])).toEqual({ $dict: [['$int', 1]] });
    expect(shown([1, '1', { kind: 'dict', entries: [[0, 0], [1, 1]] }])).toEqual({ $dict: [[1, 1], ['1', '1']] }); // prettier-ignore
  });

  const array = (shape: readonly number[], base64: string): readonly ValueNode[] => [
    'f8', '<', 3, null, false, { kind: 'bytes', base64 }, // 0 to 5
    { kind: 'tuple', items: [0] }, { kind: 'tuple', items: [2, 1] }, // 6, 7
    { kind: 'object', module: 'numpy', name: 'dtype', args: 6, state: 7 }, // 8
    { kind: 'tuple', items: shape.map((_, index) => 11 + index) }, { kind: 'tuple', items: [2, 9, 8, 4, 5] }, // 9, 10
    ...shape,
    { kind: 'object', module: 'numpy._core.multiarray', name: '_reconstruct', state: 10 },
  ]; // prettier-ignore

  test('a NumPy array whose bytes do not match its shape has no values', () => {
    expect(shown(array([1], 'AAAAAAAA8D8='))).toEqual({ $array: { dtype: 'f8', shape: [1], values: [1] } });
    expect(shown(array([2], 'AAAAAAAA8D8='))).toEqual({ $array: { dtype: 'f8', shape: [2] } });
    expect(shown(array([2 ** 40], 'AAAAAAAA8D8='))).toEqual({ $array: { dtype: 'f8', shape: [2 ** 40] } });
  });

  test.each([[[0]], [[3, 0]], [[2 ** 40, 0]], [[20_000_000, 0, 3]], [[0, 2 ** 40]]])(
    'a NumPy array of %j has no elements to list',
    (shape) => {
      expect(shown(array(shape, ''))).toEqual({ $array: { dtype: 'f8', shape } });
    },
  );

  test.each([
    ['a size below 0', [-5, 0], ''],
    ['sizes below 0 whose product is not', [-1, -1], 'AAAAAAAA8D8='],
    ['more dimensions than NumPy has', Array.from({ length: 20_000 }, () => 1), 'AAAAAAAA8D8='],
  ])('a NumPy array with %s is shown as an object', (_, shape, base64) => {
    expect(shown(array(shape, base64))).toMatchObject({ $class: 'numpy._core.multiarray._reconstruct' });
  });
});
