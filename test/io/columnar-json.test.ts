import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { columnarJson, parseColumnarJson } from '../../src/io/columnar-json.ts';

const textOf = (value: unknown): string => new TextDecoder().decode(columnarJson(value));

/** As JSON has it, order of keys included. */
function expectSame(value: unknown): void {
  const json = JSON.stringify(value);
  expect(JSON.stringify(parseColumnarJson(textOf(value)))).toBe(json);
  expect(textOf(JSON.parse(json))).toBe(textOf(value));
}

const many = (make: (index: number) => unknown, count = 100) => Array.from({ length: count }, (_, index) => make(index));

test('any JSON comes back as it was', () => {
  // A few values, repeated: so that lists are long enough for columns, and their rows alike enough.
  const scalar = fc.oneof(fc.string({ maxLength: 4 }), fc.integer(), fc.boolean(), fc.constant(null), fc.double({ noNaN: true }));
  const key = fc.constantFrom('a', 'b', '0', '', '__proto__', 'v', 'l');
  const short = fc.oneof(scalar, fc.array(scalar, { maxLength: 10 }), fc.dictionary(key, scalar, { maxKeys: 3 }));
  const repeated = (item: fc.Arbitrary<unknown>) =>
    fc.array(item, { minLength: 1, maxLength: 4 }).map((items) => many((index) => items[index % items.length], 33));
  const inside = fc.oneof(short, fc.dictionary(key, fc.oneof(short, repeated(short)), { maxKeys: 3 }), fc.array(short, { maxLength: 3 }));
  fc.assert(fc.property(fc.oneof(inside, repeated(inside), fc.dictionary(key, repeated(inside), { maxKeys: 3 })), expectSame));
});

test.each<[string, unknown]>([
  ['rows of the same fields', many((index) => ({ name: `n${index}`, shape: [index, 2], origin: { dtype: 'F32', storage: index } }))],
  ['rows that are all equal', many(() => ({ a: 1, b: [2, 3], c: { d: null } }))],
  [
    'rows of other fields, and of the same in another order',
    many((index) => (index % 3 === 0 ? { a: 1, b: 2 } : index % 3 === 1 ? { b: 2, a: 1 } : { a: 1 })),
  ],
  ['a value tree', many((index) => (index % 2 === 0 ? `key ${index}` : { kind: 'tensor', tensor: index }))],
  ['a long list within a row', [...many((index) => index), { kind: 'dict', entries: many((index) => [index, index + 1]) }]],
  ['more kinds of rows than are told apart', many((index) => ({ [`key ${index}`]: index }))],
  ['negative zero', many(() => -0)],
  ['a field named __proto__', many(() => JSON.parse('{"__proto__": {"a": 1}, "b": 2}') as unknown)],
  ['half a character', many(() => '\ud800')],
  ['what looks like a tag', { v: ['v', 1], l: ['l', 3, ['=', 1]], o: many(() => ['=', 1]) }],
])('%s come back as they were', (_, value) => {
  expectSame(value);
  expectSame({ deeper: { still: value } });
});

test.each<[string, unknown]>([
  ['fields that are not there', { a: undefined, b: many((index) => ({ a: index, b: index === 50 ? undefined : 1 })) }],
  ['nothing where JSON has null', many((index) => (index % 2 === 0 ? undefined : Number.NaN))],
])('%s are as JSON has them', (_, value) => {
  expect(JSON.stringify(parseColumnarJson(textOf(value)))).toBe(JSON.stringify(value));
});

test('a thousand levels are left as they are', () => {
  let deep: unknown = many((index) => index);
  for (let level = 0; level < 1000; level++) deep = level % 2 === 0 ? { deep } : [deep];
  expectSame(deep);
  let long: unknown = 1;
  for (let level = 0; level < 1000; level++) long = [...many(() => 0, 40), long];
  expectSame(long);
});

test('a list that two values share is written alike in both', () => {
  const storages = Array.from({ length: 300 }, (_, index) => ({ file: 0, offset: index }));
  const texts = [{ storages }, { a: 1, storages }, { storages: [...storages] }].map(textOf);
  expect(texts[0]).toBe(texts[2]);
  // Lists that begin alike are others all the same.
  for (const others of [storages.slice(0, 290), storages.map((row, index) => (index === 299 ? { ...row, offset: -1 } : row))])
    expectSame({ storages: others });
  expect(texts.map((text) => parseColumnarJson(text))).toEqual([{ storages }, { a: 1, storages }, { storages }]);
  const names = storages.map(({ offset }) => `n${offset}\u00e9`);
  expect(textOf({ names })).toBe(textOf({ names: [...names] }));
  for (const value of [{ names }, { a: { names } }, { names, more: names.slice(1) }, storages.map(() => names.slice(0, 40))])
    expectSame(value);
});

test('whole numbers that go on by the same are told by the first of them and the step', () => {
  expect(textOf(many((index) => 7 - 3 * index))).toBe('["l",100,["+",7,-3]]');
  expect(textOf({ rows: many((index) => ({ name: 'n', tensor: index }), 300) })).toBe(
    '["o",["rows"],[["l",300,["r",["name","tensor"],[["=","n"],["+",0,1]]]]]]',
  );
});

test.each<[string, unknown[]]>([
  ['the last of which is another', many((index) => (index === 99 ? 0 : index))],
  ['one of which is none', many((index) => (index === 50 ? '50' : index))],
  ['with parts', many((index) => index / 2)],
  ['that end beyond what is exact', many((index) => Number.MAX_SAFE_INTEGER - 50 + index)],
  ['that begin so', many((index) => 2 ** 53 + 2 * index)],
  ['of which the first is nothing', many((index) => (index === 0 ? null : index))],
])('numbers %s are written as they are', (_, values) => {
  expectSame(values);
  expectSame(many((index) => ({ a: 1, b: values[index] })));
  expect(textOf(values)).toBe(`["l",100,["v",${JSON.stringify(values)}]]`);
});

test('a field is the same in all rows up to any of them', () => {
  for (const from of [0, 1, 2, 50, 99, 100])
    for (const [before, after] of [
      ['a', 'b'],
      [null, 1],
      [1, { deep: true }],
      [[1], [2]],
      [0, Number.NaN],
    ])
      expectSame(JSON.parse(JSON.stringify(many((index) => ({ at: index, field: index < from ? before : after })))));
});

test('a list of equal rows is one row and its names, once', () => {
  expect(textOf(many(() => ({ dtype: 'F32', shape: [] }), 1000))).toBe('["l",1000,["r",["dtype","shape"],[["=","F32"],["t",[]]]]]');
});
