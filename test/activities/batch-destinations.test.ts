/** Items of a batch that would go over each other: found when they are listed, whatever page they are on. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { batchActivities, type BatchActivities } from '../../activities/batch/index.ts';
import { loadCatalog } from '../../activities/catalog.ts';
import type { Services } from '../../activities/services.ts';
import type { BlobReference } from '../../src/model/context.ts';
import { refuseTaken } from '../../src/pipeline/batch-template.ts';
import { LIST_ACTIVITY, PAGE_ACTIVITY, type BatchItem, type BatchItems } from '../../src/pipeline/batch.ts';
import type { PipelineInput } from '../../src/pipeline/contract.ts';
import { servicesOf } from '../support/temporal.ts';

let folder: string;
let activities: BatchActivities;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-destinations-'));
  activities = batchActivities(await loadCatalog(), servicesOf(join(folder, 'workspace')));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function template(...outputs: readonly string[]): PipelineInput {
  return {
    stages: [
      { type: 'source.local', path: '${item.uri}' },
      { type: 'loader.weights_only' },
      ...outputs.map((uri) => ({ type: 'sink.publish', uri })),
    ],
  };
}

async function listed(items: BatchItems, pipeline: PipelineInput): Promise<readonly BatchItem[]> {
  const call = <I, O>(activity: (input: I) => Promise<O>, input: I): Promise<O> => new MockActivityEnvironment().run(activity, input);
  const { index, total } = await call(activities[LIST_ACTIVITY], { items, workspace: null, results: null, pipeline });
  const all: BatchItem[] = [];
  for (let page = 0; all.length < total; page++)
    all.push(...(await call(activities[PAGE_ACTIVITY], { index, page, workspace: null, pipeline })).items);
  return all;
}

function kept(items: readonly BatchItem[]): readonly (readonly [string, string])[] {
  return items.flatMap(({ uri, destination_of: other }) => (other === undefined ? [] : [[uri, other] as const]));
}

test('the first of a place has it, each later one is told of that, on another page too', async () => {
  const items = Array.from({ length: 500 }, (_, index) => `/in/${index}/${index % 400 === 7 ? 'model' : `m${index}`}.pt`);
  const uri = join(folder, 'out', '${item.stem}.safetensors');
  expect(kept(await listed([...items, '/in/again/model.pt'], template(uri)))).toEqual([
    ['/in/407/model.pt', 'model.pt'],
    ['/in/again/model.pt', 'model.pt'],
  ]);
  expect(kept(await listed(items, template('${item.uri}.safetensors')))).toEqual([]);
});

test('cancelled while it looks through them for the second time, it ends', async () => {
  const services = servicesOf(join(folder, 'workspace'));
  const environment = new MockActivityEnvironment();
  const workspace: Services['workspace'] = (uri) => {
    const store = services.workspace(uri);
    const getJson = (reference: BlobReference): Promise<unknown> => {
      environment.cancel('CANCELLED');
      return store.getJson(reference);
    };
    return { ...store, getJson };
  };
  const { [LIST_ACTIVITY]: list } = batchActivities(await loadCatalog(), { ...services, workspace });
  const input = { items: ['/in/a.pt', '/in/b/a.pt'], workspace: null, results: null, pipeline: template('/out/${item.key}') };
  await expect(environment.run(list, input)).rejects.toThrow('CANCELLED');
});

test.each([
  ['another spelling of the place', ['file:///out/a%20b', '/out/a b'], 1],
  ['one of two outputs', ['/out/one', '/out/two'], 1],
  ['a place that is not an output', ['ftp://out/one', 'ftp://out/one'], 0],
])('%s', async (_, places, clashes) => {
  const items = places.map((place, index) => ({ uri: `/in/${index}`, place }));
  const outputs = places[0] === '/out/one' ? ['${item.uri}.out', '/out/same'] : ['${item.place}'];
  expect(kept(await listed(items, template(...outputs)))).toHaveLength(clashes);
});

test('the same item twice is no harm; one with another value of a column that decides is', async () => {
  const pipeline = template('/out/${item.stem}');
  const withNote = {
    stages: [...pipeline.stages.slice(0, 2), { type: 'modifier.metadata', set: { note: '${item.note}' } }, ...pipeline.stages.slice(2)],
  };
  const items = [
    { uri: '/in/a', note: '1' },
    { uri: '/in/a', note: '1' },
    { uri: '/in/a', note: '2' },
  ];
  expect(kept(await listed(items, pipeline))).toEqual([]);
  expect(kept(await listed(items, withNote))).toEqual([['/in/a', 'a']]);
});

test('tried again alone, an item is still kept from what another has published', async () => {
  const results = join(folder, 'results.jsonl');
  const line = { index: 1, item: 'b/m.pt', uri: '/in/b/m.pt', columns: {}, destination_of: 'a/m.pt', status: 'failed' };
  await writeFile(results, `${JSON.stringify({ ...line, item: 'c/m.pt', destination_of: undefined })}\n${JSON.stringify(line)}\n`);
  const [other, item] = await listed({ failed_in: results }, template('/out/${item.stem}'));
  expect(other).toEqual({ uri: '/in/b/m.pt', key: 'c/m.pt', columns: {} });
  expect(() => refuseTaken(other!)).not.toThrow();
  expect(() => refuseTaken(item!)).toThrow('b/m.pt would be published over a/m.pt: the template gives both one place.');
});
