import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Part } from '../../../src/io/workspace/columnar-json/pieces.ts';
import { parseColumnarJson } from '../../../src/io/workspace/columnar-json/read.ts';
import { columnarJson } from '../../../src/io/workspace/columnar-json/write.ts';

const decoded = (text: Uint8Array): string => new TextDecoder().decode(text);
/** Of one without parts. */
const textOf = (value: unknown): string => decoded(columnarJson(value).text);

async function readBack(value: unknown): Promise<unknown> {
  const { text, parts } = columnarJson(value);
  return parseColumnarJson(decoded(text), async (sha256) => decoded(parts.find((part) => part.sha256 === sha256)!.text));
}

/** Its text, which calls all of its parts by what they are. */
const allOf = (value: unknown): readonly string[] => {
  const { text, parts } = columnarJson(value);
  return [decoded(text), ...parts.map(({ sha256 }) => sha256)];
};

/** As JSON has it, order of keys included. */
async function expectSame(value: unknown): Promise<void> {
  const json = JSON.stringify(value);
  expect(JSON.stringify(await readBack(value))).toBe(json);
  expect(allOf(JSON.parse(json))).toEqual(allOf(value));
}

const many = (make: (index: number) => unknown, count = 100) => Array.from({ length: count }, (_, index) => make(index));

test('any JSON comes back as it was', async () => {
  // A few values, repeated: so that lists are long enough for columns, and their rows alike enough.
  const scalar = fc.oneof(fc.string({ maxLength: 4 }), fc.integer(), fc.boolean(), fc.constant(null), fc.double({ noNaN: true }));
  const key = fc.constantFrom('a', 'b', '0', '', '__proto__', 'v', 'l');
  const short = fc.oneof(scalar, fc.array(scalar, { maxLength: 10 }), fc.dictionary(key, scalar, { maxKeys: 3 }));
  const repeated = (item: fc.Arbitrary<unknown>) =>
    fc.array(item, { minLength: 1, maxLength: 4 }).map((items) => many((index) => items[index % items.length], 33));
  const inside = fc.oneof(short, fc.dictionary(key, fc.oneof(short, repeated(short)), { maxKeys: 3 }), fc.array(short, { maxLength: 3 }));
  await fc.assert(fc.asyncProperty(fc.oneof(inside, repeated(inside), fc.dictionary(key, repeated(inside), { maxKeys: 3 })), expectSame));
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
])('%s come back as they were', async (_, value) => {
  await expectSame(value);
  await expectSame({ deeper: { still: value } });
});

test.each<[string, unknown]>([
  ['fields that are not there', { a: undefined, b: many((index) => ({ a: index, b: index === 50 ? undefined : 1 })) }],
  ['nothing where JSON has null', many((index) => (index % 2 === 0 ? undefined : Number.NaN))],
])('%s are as JSON has them', async (_, value) => {
  expect(JSON.stringify(await readBack(value))).toBe(JSON.stringify(value));
});

test('a thousand levels are left as they are', async () => {
  let deep: unknown = many((index) => index);
  for (let level = 0; level < 1000; level++) deep = level % 2 === 0 ? { deep } : [deep];
  await expectSame(deep);
  let long: unknown = 1;
  for (let level = 0; level < 1000; level++) long = [...many(() => 0, 40), long];
  await expectSame(long);
});

test('a list that two values share is written alike in both', async () => {
  const storages = Array.from({ length: 300 }, (_, index) => ({ file: 0, offset: index }));
  const texts = [{ storages }, { a: 1, storages }, { storages: [...storages] }].map(textOf);
  expect(texts[0]).toBe(texts[2]);
  // Lists that begin alike are others all the same.
  for (const others of [storages.slice(0, 290), storages.map((row, index) => (index === 299 ? { ...row, offset: -1 } : row))])
    await expectSame({ storages: others });
  expect(await Promise.all([{ storages }, { a: 1, storages }].map(readBack))).toEqual([{ storages }, { a: 1, storages }]);
  const names = storages.map(({ offset }) => `n${offset}\u00e9`);
  expect(textOf({ names })).toBe(textOf({ names: [...names] }));
  for (const value of [{ names }, { a: { names } }, { names, more: names.slice(1) }, storages.map(() => names.slice(0, 40))])
    await expectSame(value);
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
])('numbers %s are written as they are', async (_, values) => {
  await expectSame(values);
  await expectSame(many((index) => ({ a: 1, b: values[index] })));
  expect(textOf(values)).toBe(`["l",100,["v",${JSON.stringify(values)}]]`);
});

test('a field is the same in all rows up to any of them', async () => {
  for (const from of [0, 1, 2, 50, 99, 100])
    for (const [before, after] of [
      ['a', 'b'],
      [null, 1],
      [1, { deep: true }],
      [[1], [2]],
      [0, Number.NaN],
    ])
      await expectSame(JSON.parse(JSON.stringify(many((index) => ({ at: index, field: index < from ? before : after })))));
});

test('a list of equal rows is one row and its names, once', () => {
  expect(textOf(many(() => ({ dtype: 'F32', shape: [] }), 1000))).toBe('["l",1000,["r",["dtype","shape"],[["=","F32"],["t",[]]]]]');
});

const long = 20_000;
const names = many((index) => `blocks.${index}.attention.weight`, long);
const storages = many((index) => ({ file: 0, name: `archive/data/${index * 7}` }), long);
const plan = (more: object = {}): object => ({
  tensors: names.map((name, storage) => ({ name, origin: { dtype: 'F32', storage } })),
  storages,
  record: { transferred: [...names], ...more },
});

test('long columns are parts: each once, whatever calls them', async () => {
  const { text, parts } = columnarJson(plan());
  expect(text.length).toBeLessThan(1000);
  expect(parts.map((part) => part.sha256)).toEqual(parts.map((part) => createHash('sha256').update(part.text).digest('hex')));
  // The names, and the storages as a whole.
  expect(parts).toHaveLength(2);
  await expectSame(plan());

  // Others of which a part is the same: it is not written again.
  const renamed = names.map((name) => `model.${name}`);
  const more = columnarJson({ ...plan({ frozen: renamed }), tensors: renamed.map((name) => ({ name })) });
  const digests = (each: readonly Part[]): readonly string[] => each.map(({ sha256 }) => sha256);
  expect(digests(more.parts)).toEqual(expect.arrayContaining([...digests(parts)]));
  expect(more.parts).toHaveLength(3);
});

test.each<[string, unknown]>([
  ['a list by itself', names],
  ['lists in a short list', [names, [names], names.slice(1)]],
  ['a list deep within', { a: { b: { c: { d: names } } } }],
  ['rows of several kinds', storages.map((row, index) => (index % 2 === 0 ? row : { other: `${index} of many, and long enough` }))],
  ['lists of lists', many((index) => [`${index} and its name`, names[index]], long)],
  ['numbers', many((index) => index * index, 50_000)],
  ['long lists within rows', many((index) => ({ index, names: names.slice(0, 9000) }), 40)],
])('%s of very many values come back as they were', async (_, value) => {
  await expectSame(value);
  await expectSame({ value, again: [value] });
});

test('a part is called by its digest, and by nothing else', async () => {
  const asked: string[] = [];
  const read = parseColumnarJson('["p",["../../secret"],["l",32,["#","../../secret"]]]', async (name) => (asked.push(name), '["v",[]]'));
  await expect(read).rejects.toThrow(TypeError);
  expect(asked).toEqual([]);
});
