/** What is said of options that a stage does not take: what it expects. */
import { beforeAll, expect, test } from '@jest/globals';
import { z } from 'zod';
import { loadCatalog, optionProblems, parseOptions, type Catalog } from '../../activities/catalog.ts';
import { createActivities } from '../../activities/index.ts';
import type { JsonObject } from '../../src/errors.ts';
import { CHECK_OPTIONS_ACTIVITY } from '../../src/pipeline/contract.ts';
import { servicesOf } from '../support/temporal.ts';

let catalog: Catalog;
beforeAll(async () => {
  catalog = await loadCatalog();
});

const parsed = (type: string, options: JsonObject): unknown => parseOptions(catalog.get(type)!, options, 0);
const publish = (shardSize: string | number): unknown => parsed('sink.publish', { uri: '/x.safetensors', shard_size: shardSize });

test.each([0, -1, 1.5, '0', '00', '0B', '0 B', '0.0GB', '0MiB', '1.5', '0.4B', '1.5B', 'lots', ''])(
  'shard_size %j is not a size',
  (size) => {
    expect(() => publish(size)).toThrow('`shard_size`: expected a size such as 5GB or 512MiB, got ');
  },
);
test.each([1, 5_000_000, '1', '100', '200B', '0.5GB', '5GB', '5gb', '1.5 GiB', '512MiB', '10TB'])('shard_size %j is one', (size) => {
  expect(publish(size)).toMatchObject({ shard_size: size });
});

test('no key of a mapping is lost without a word', () => {
  const target = JSON.parse('{"a":{"shape":[1],"dtype":"F32"},"__proto__":{"shape":[1],"dtype":"F32"}}') as JsonObject;
  expect(() => parsed('loader.cold_start', { target })).toThrow(
    'loader.cold_start: option `target` cannot have the key `__proto__`. Put the spec into a JSON file, and name that.',
  );
  const values = JSON.parse('{"__proto__":"x"}') as JsonObject;
  expect(() => parsed('modifier.metadata', { values })).toThrow('option `values` cannot have the key `__proto__`.');
});

test.each<[string, JsonObject, string]>([
  ['source.local', { path: 'x.pt' }, '`stages[2].path` is the relative location "x.pt"'],
  ['sink.publish', { uri: './x.safetensors' }, '`stages[2].uri` is the relative location'],
  ['source.local', { uri: `/${'x'.repeat(1_000_000)}` }, 'the limit is 1800'],
  ['loader.cold_start', { target: 't.pt' }, '`stages[2].target` is the relative location'],
  ['source.local', { path: 5 }, 'source.local: option `path`'],
])('%s with options that somebody changes while the run waits: locations as at its start', async (type, options, message) => {
  const check = createActivities(catalog, servicesOf('/nowhere'))[CHECK_OPTIONS_ACTIVITY];
  await expect(check({ index: 2, type, options })).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: expect.stringContaining(message),
  });
  await expect(check({ index: 2, type: 'source.local', options: { path: '/x.pt' } })).resolves.toBeUndefined();
});

test.each<[string, JsonObject, string]>([
  ['source.local', { path: 123 }, '`path`: expected a text, got the number 123. Write it in quotes.'],
  ['source.local', { path: ['a'] }, '`path`: expected a text, got a list.'],
  ['source.local', { path: '' }, '`path`: it is empty; expected at least 1 character.'],
  ['modifier.select', { include: 'model.*' }, "`include`: expected a list, got the text `model.*`. Write a list: `['model.*']`."],
  ['modifier.select', { include: ['a', 3] }, '`include[1]`: expected a text, got the number 3.'],
  ['modifier.freezing', { submodules_to_freeze: 'a.b' }, "Write a list: `['a.b']`."],
  // What is not in quotes as it was written is not shown so.
  ['modifier.select', { include: "it's" }, 'Write a list: `[…]`.'],
  ['modifier.select', { include: 'two\nlines' }, 'Write a list: `[…]`.'],
  ['modifier.select', { include: 'x'.repeat(101) }, 'Write a list: `[…]`.'],
  ['modifier.select', { include: 1.1 }, 'Write a list: `[…]`.'],
  ['modifier.rename', { strip_prefix: 'x'.repeat(2000) }, '`strip_prefix`: it has 2000 characters, at most 1000 are taken.'],
  [
    'modifier.cast',
    { dtype: 'float17' },
    '`dtype`: expected a float dtype such as F32, F16, BF16, F64, F8_E4M3 or torch.bfloat16, got the text `float17`.',
  ],
  [
    'modifier.rename',
    { rules: { a: 'b' } },
    '`rules`: expected a list, got a mapping: write `- {pattern: …, replacement: …}` for each item.',
  ],
  ['modifier.cast', { rules: { a: 'F16' } }, '`rules`: expected a list, got a mapping: write `- {names: …, dtype: …}` for each item.'],
  [
    'source.local',
    { path: 's3://b/k.ckpt' },
    '`path`: s3://b/k.ckpt is not a local path: write `type: source.s3`, and the URL as its `url`.',
  ],
  [
    'source.local',
    { uri: 'https://x/k.ckpt?token=a' },
    '`uri`: https://x/k.ckpt is not a local path: write `type: source.http`, and the URL as its `url`.',
  ],
  ['modifier.metadata', { values: ['a'] }, '`values`: expected a mapping, got a list.'],
  ['sink.publish', { uri: '/x', overwrite: true }, '`overwrite`: it is one of never, if_changed, always; got `true`.'],
  ['sink.publish', { uri: '/x', overwrite: 'alway' }, 'got `alway`. Did you mean `always`?'],
  ['sink.publish', { uri: '/x', training_state: 'yes' }, '`training_state`: expected true or false, got the text `yes`. Write `true`.'],
  ['loader.weights_only', { strict: 'false' }, 'got the text `false`. Write `false`, without quotes.'],
])('%s %j: what was expected, what was got, and what to write', (type, options, message) => {
  expect(() => parsed(type, options)).toThrow(message);
});

test('and numbers, which stages of plug-ins may have; what a schema says itself comes first', () => {
  const options = z.strictObject({
    size: z.number().positive().max(9),
    parts: z.int().min(1),
    either: z.union([z.string(), z.number()]),
    own: z.string({ error: 'say it' }),
  });
  const stage = { ...catalog.get('source.local')!, type: 'source.mine' as const, options };
  const given = { size: 0, parts: '3', either: true, own: 4 };
  const told = optionProblems(stage, given, 0).map(({ message }) => message.replace('source.mine: option ', ''));
  expect(told).toEqual([
    '`size`: expected a number above 0, got the number 0.',
    '`parts`: expected a number, got the text `3`. Write it without quotes: `3`.',
    '`either`: expected a text or a number, got `true`.',
    '`own`: say it.',
  ]);
});

test.each<[JsonObject, string]>([
  [{ a: null }, '`values.a`: expected a text, a number or a boolean, got '],
  [{ a: ['x'] }, '`values.a`: expected a text, a number or a boolean, got '],
  [{ a: 1, b: 2 ** 60 }, '`values.b`: a number of so many digits is not kept as it is: quote it.'],
  [{ a: Infinity }, '`values.a`: a number that is not finite is not kept as it is: quote it.'],
  [{ '': 'x' }, 'expected a key of 1 to 200 characters.'],
  [{ ['k'.repeat(201)]: 'x' }, 'expected a key of 1 to 200 characters.'],
])('metadata %j', (values, message) => {
  expect(() => parsed('modifier.metadata', { values })).toThrow(message);
});
