/** What is said of options that a stage does not take: what it expects. */
import { beforeAll, expect, test } from '@jest/globals';
import { loadCatalog, parseOptions, type Catalog } from '../../activities/catalog.ts';
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

test.each([0, -1, 1.5, '0', '00', '0B', '0 B', '0.0GB', '0MiB', '1.5', '0.4B', '1.5B', 'lots', ''])('shard_size %j is no size', (size) => {
  expect(() => publish(size)).toThrow('`shard_size`: expected a size such as 5GB or 512MiB.');
});
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

test.each<[JsonObject, string]>([
  [{ a: null }, '`values.a`: expected a text, a number or a boolean.'],
  [{ a: ['x'] }, '`values.a`: expected a text, a number or a boolean.'],
  [{ '': 'x' }, 'expected a key of 1 to 200 characters.'],
  [{ ['k'.repeat(201)]: 'x' }, 'expected a key of 1 to 200 characters.'],
])('metadata %j', (values, message) => {
  expect(() => parsed('modifier.metadata', { values })).toThrow(message);
});
