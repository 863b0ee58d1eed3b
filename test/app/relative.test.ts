/** Which locations of a program's pipelines and batches are refused, as each worker would find another place there. */
import { expect, test } from '@jest/globals';
import { loadCatalog } from '../../activities/catalog.ts';
import { LOCATIONS, refuseRelative } from '../../src/app/relative.ts';
import type { Work } from '../../src/app/start.ts';
import { isCheckpointError } from '../../src/errors.ts';

const pipeline = (...stages: readonly object[]): Work => ({ kind: 'pipeline', input: { stages } as never });
const batch = (items: unknown, stage: object = { type: 'source.local', path: '${item.uri}' }, more: object = {}): Work => ({
  kind: 'batch',
  input: { items, pipeline: { stages: [stage] }, ...more } as never,
});

function refusedAt(work: Work): unknown {
  try {
    refuseRelative(work);
    return null;
  } catch (error) {
    if (!isCheckpointError(error) || error.code !== 'CheckpointConfigError') throw error;
    expect(error.message).toContain('relative');
    return error.details['config_path'];
  }
}

test.each<[Work, string | null]>([
  [pipeline({ type: 'source.local', path: 'a.ckpt' }), 'stages[0].path'],
  [pipeline({ type: 'source.local', uri: './a.ckpt' }), 'stages[0].uri'],
  [pipeline({ type: 'source.local', path: '/a.ckpt' }, { type: 'loader.cold_start', target: '../t.ckpt' }), 'stages[1].target'],
  [pipeline({ type: 'sink.publish', uri: 'out/x.safetensors' }), 'stages[0].uri'],
  [pipeline({ type: 'source.local', path: '/a.ckpt' }, { type: 'sink.publish', uri: 's3://b/x' }), null],
  [pipeline({ type: 'source.local', path: 'file:///a.ckpt' }, { type: 'sink.publish', uri: '~/x' }), null],
  [pipeline({ type: 'loader.cold_start', target: { 'model.weight': { shape: [1], dtype: 'F32' } } }), null],
  [pipeline({ type: 'source.mine', path: 'a.ckpt' }, { type: 'modifier.metadata', path: 'a' }), null],
  ...['constructor', 'toString', '__proto__'].map((type): [Work, null] => [pipeline({ type, path: 'a.ckpt' }), null]),
  [batch(['/a.ckpt']), null],
  [batch(['name'], { type: 'source.local', path: '/data/${item.uri}.ckpt' }), null],
  [batch(['/a.ckpt'], { type: 'sink.publish', uri: 'out/${item.key}' }), 'pipeline.stages[0].uri'],
  [batch(['/a.ckpt'], { type: 'sink.publish', uri: '${item.dir}/x' }), null],
  [batch({ uri: 'runs/' }), 'items.uri'],
  [batch({ manifest: 'm.csv' }), 'items.manifest'],
  [batch({ uri: 's3://b/' }, undefined, { results: 'r.jsonl' }), 'results'],
  [batch({ failed_in: 'r.jsonl' }), null],
])('%j → %s', (work, path) => {
  expect(refusedAt(work)).toBe(path);
});

test('the table is what the stages say', async () => {
  const said = [...(await loadCatalog()).values()].flatMap(({ type, locations }) => (locations === undefined ? [] : [[type, locations]]));
  expect(LOCATIONS).toEqual(Object.fromEntries(said));
});
