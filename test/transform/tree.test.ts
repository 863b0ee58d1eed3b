import { describe, expect, test } from '@jest/globals';
import { nameToIndex } from '../../src/transform/index-metadata.ts';
import { chunkingFix } from '../../src/transform/migration.ts';
import { integerAt } from '../../src/transform/tree.ts';
import { headerOf, treeOf } from '../support/headers.ts';

describe('a value at a path', () => {
  test.each<[string, unknown]>([
    ['dicts', { a: { b: 3 } }],
    ['an object with attributes', { a: { __object__: { b: 3 } } }],
    ['a pydantic model', { a: { __object__: { __dict__: { b: 3 }, __pydantic_extra__: null } } }],
    ['an OmegaConf container with wrapped scalars', { a: { __object__: { _content: { b: { __object__: { _val: 3 } } } } } }],
    ['a DotMap', { a: { __object__: { _map: { b: 3 } } } }],
  ])('through %s', (_name, value) => {
    expect(integerAt(treeOf(value), ['a', 'b'])).toBe(3);
    expect(integerAt(treeOf(value), ['a', 'c'])).toBeUndefined();
  });
});

describe('the chunking fix', () => {
  const names = {
    'model.model.processor.proc.1.blocks.2.attention.weight': ['F32', [1]],
    'model.model.encoder.weight': ['F32', [1]],
  } as const;
  const tree = (layers: unknown, chunks: unknown) =>
    treeOf({ hyper_parameters: { config: { model: { processor: { num_layers: layers, num_chunks: chunks } } } } });

  test('counts chunk by chunk and leaves other names', () => {
    const { rename, count } = chunkingFix(headerOf(names, { tree: tree(16, 2) }));
    expect(count).toBe(1);
    expect(Object.keys(names).map(rename)).toEqual(['model.model.processor.proc.10.attention.weight', 'model.model.encoder.weight']);
    expect(rename(rename(Object.keys(names)[0]!))).toBe('model.model.processor.proc.10.attention.weight');
  });

  test.each([
    [null, 2],
    [16, 0],
    [true, 2],
    [1, 2],
  ])('%j layers in %j chunks: a warning, names as they are', (layers, chunks) => {
    const { rename, warning } = chunkingFix(headerOf(names, { tree: tree(layers, chunks) }));
    expect(warning).toContain('num_layers');
    expect(rename(Object.keys(names)[0]!)).toBe(Object.keys(names)[0]);
  });

  test('two names that would become one are an error', () => {
    const clash = {
      'model.model.processor.proc.0.blocks.1.w': ['F32', [1]],
      'model.model.processor.proc.1.blocks.0.w': ['F32', [1]],
    } as const;
    expect(() => chunkingFix(headerOf(clash, { tree: tree(2, 2) }))).toThrow('two of them get one name');
  });
});

describe('the index of variables', () => {
  const given = (dataIndices: unknown) => nameToIndex(headerOf({}, { tree: treeOf({ hyper_parameters: { data_indices: dataIndices } }) }));
  test.each<[string, unknown, unknown]>([
    ['one object', { __object__: { name_to_index: { t: 0, q: 1 } } }, { t: 0, q: 1 }],
    ['datasets', { data: { __object__: { name_to_index: { t: 0 } } } }, { data: { t: 0 } }],
    ['an empty mapping', {}, undefined],
    ['a number', 3, undefined],
    ['datasets without it', { data: 3 }, undefined],
  ])('%s', (_name, value, expected) => {
    expect(given(value)).toEqual(expected);
  });
  test('hyper_parameters that are null count as absent', () => {
    expect(nameToIndex(headerOf({}, { tree: treeOf({ hyper_parameters: null }) }))).toBeUndefined();
  });
});
