import { describe, expect, test } from '@jest/globals';
import { isCheckpointError } from '../../src/errors.ts';
import { localPath } from '../../src/io/local/local-file.ts';
import { within } from '../../src/model/text.ts';
import { checkBatch, checkBatchId } from '../../src/pipeline/batch-document.ts';
import { expand, itemOf, refuseClimbing } from '../../src/pipeline/batch-template.ts';
import {
  borne,
  borneAgain,
  childId,
  handOver,
  NO_TOTALS,
  paceOf,
  withOutcome,
  type BatchItem,
  type BatchStatus,
  type Totals,
} from '../../src/pipeline/batch.ts';

const stages = [{ type: 'source.local', path: '${item.uri}' }, { type: 'loader.weights_only' }];
const item = (key: string, columns: Record<string, string> = {}): BatchItem => ({ uri: `file:///in/${key}`, key, columns });
const refusal = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isCheckpointError(error)) return `${String(error.details['config_path'])}: ${error.message}`;
    throw error;
  }
  throw new Error('it was accepted');
};

describe('names in so many bytes', () => {
  test('no half characters, from either end', () => {
    expect(within('abc', 10)).toBe('abc');
    expect(within('aéz', 2)).toBe('a');
    expect(within('aéz', 3, 'end')).toBe('éz');
    expect(within('x😀', 4, 'end')).toBe('😀');
    expect(within('x😀y', 3, 'end')).toBe('y');
    expect(within('a\ud83d', 10)).toBe('a\ufffd');
  });

  test('ids of children are taken by the server, whatever the keys', () => {
    for (const key of ['k'.repeat(5000), '模'.repeat(5000), '😀'.repeat(3000), 'a\ud800b']) {
      const id = childId('b'.repeat(600), 999_999, item(key));
      expect(Buffer.byteLength(id)).toBeLessThanOrEqual(1000);
      expect(Buffer.from(id).toString()).toBe(id);
    }
    expect(refusal(() => checkBatchId('b'.repeat(601)))).toContain('600 bytes');
    expect(childId('nightly', 3, item('runs/last.ckpt'))).toBe('nightly/3/runs/last.ckpt');
  });
});

test('totals stay small, whatever fails', () => {
  let totals: Totals = NO_TOTALS;
  for (let index = 0; index < 1000; index++)
    totals = withOutcome(totals, 'x'.repeat(200), {
      status: 'failed',
      outputs: [],
      error: { type: `Plugin${index}${'e'.repeat(500)}`, message: 'm'.repeat(10_000), details: {} },
    });
  expect(totals.failed).toBe(1000);
  expect(Object.values(totals.codes).reduce((sum, count) => sum + count, 0)).toBe(1000);
  expect(JSON.stringify(totals).length).toBeLessThan(32 * 1024);
});

test('codes are counted by what is kept of them, whatever words they are', () => {
  const failed = (totals: Totals, type: string): Totals =>
    withOutcome(totals, 'a', { status: 'failed', outputs: [], error: { type, message: '', details: {} } });
  const long = 'l'.repeat(500);
  const known = [long, ...Array.from({ length: 49 }, (_, index) => `Plugin${index}`)].reduce(failed, NO_TOTALS);
  const { codes } = [long, 'toString', 'constructor', 'other'].reduce(failed, known);
  expect(codes['l'.repeat(100)]).toBe(2);
  expect([Object.hasOwn(codes, 'toString'), Object.hasOwn(codes, 'constructor'), codes['other']]).toEqual([false, false, 3]);
  expect(failed(NO_TOTALS, 'toString').codes).toEqual({ toString: 1 });
});

test('what is borne, and what is handed over', () => {
  expect(borne({ items: [], pipeline: { stages: [] } }, 10)).toBe(0);
  expect(borne({ items: [], pipeline: { stages: [] }, continue_on_error: true }, 10)).toBe(Infinity);
  expect(borne({ items: [], pipeline: { stages: [] }, max_failures: '5%' }, 1000)).toBe(50);
  // As one reckons, not as 0.29 is stored.
  for (const percent of [29, 57, 58])
    expect(borne({ items: [], pipeline: { stages: [] }, max_failures: `${percent}%` }, 100)).toBe(percent);
  // Of the batch before, not of the few that are tried again.
  expect(borneAgain({ max_failures: '5%' }, { total: 1000, failed: 12 })).toBe(50);
  expect(borneAgain({ max_failures: '5%' }, { total: 1000, failed: 66 })).toBe(66);
  expect(borneAgain({}, { total: 10, failed: 1 })).toBe(1);
  expect(borneAgain({ continue_on_error: true }, { total: 10, failed: 1 })).toBe(Infinity);
  expect([1, 4, 16, 1000].map(handOver)).toEqual([1, 1, 4, 64]);
});

describe('the document', () => {
  test.each([
    [{ items: [], pipeline: { stages }, max_concurent: 3 }, /^max_concurent: .*max_concurrent/],
    [{ items: { uri: '/x', globs: '*' }, pipeline: { stages } }, /^items\.globs: .*glob/],
    [{ items: { uri: '/x', manifest: 'y' }, pipeline: { stages } }, /^items: /],
    [{ items: [{ key: 'no uri' }], pipeline: { stages } }, /^items\[0\]: /],
    [{ items: [], pipeline: { stages: [{ path: 'x' }] } }, /^pipeline\.stages\[0\]\.type: /],
    [{ items: [], pipeline: [] }, /^pipeline: /],
    [{ items: [], pipeline: { stages: [...stages, { type: '${item.t}' }] } }, /^pipeline\.stages\[2\].type: .*does not come from an item/],
    [
      { items: [], pipeline: { stages: [{ type: 'loader.x', list: ['${item.a}', '/${item.key'] }] } },
      /^pipeline\.stages\[0\]\.list\[1\]: `\/\$\{item\.key` has .* closes/,
    ],
    [{ items: [], pipeline: { stages }, max_failures: '5 %' }, /^max_failures: /],
    [{ items: [], pipeline: { stages }, report: 1 }, /^report: `report` must be true or false; got 1\./],
    [{ items: [], pipeline: { stages }, results: 1 }, /^results: `results` must be a text; got 1\./],
    [{ items: [], pipeline: { stages }, max_concurrent: 0 }, /^max_concurrent: /],
    [{ items: [], pipeline: { stages: [{ type: 'loader.x', target: { a: 'x'.repeat(70_000) } }] } }, /^pipeline: .*JSON file/],
  ])('%j', (given, message) => {
    expect(refusal(() => checkBatch(given))).toMatch(message);
  });

  test('an item is bounded', () => {
    expect(refusal(() => itemOf({ uri: 'a', note: 'x'.repeat(20_000) }, 'row 3'))).toMatch(/^row 3: .*at most 16384/);
  });
});

test('the template', () => {
  const made = expand(
    { stages: [{ type: 'sink.publish', uri: 's3://b/${item.dir}/${item.stem}-${item.run}.safetensors' }] },
    item('a/b.v2.ckpt', { run: '7' }),
  );
  expect(made.stages[0]!['uri']).toBe('s3://b/a/b.v2-7.safetensors');
  expect(refusal(() => expand({ stages: [{ type: 'x', uri: '${item.sterm}' }] }, item('a')))).toMatch(/stem/);
});

test.each(['run#1', 'what?', '50%', 'a%20b', ' é\t', 'a\\b'])('a value in a file: URI is a name as it stands: %j', (name) => {
  const made = (uri: string): unknown => expand({ stages: [{ type: 'sink.publish', uri }] }, item(`runs/${name}.ckpt`)).stages[0]!['uri'];
  expect(localPath(made('file:///out/${item.dir}/${item.stem}.pt') as string)).toBe(`/out/runs/${name}.pt`);
  expect(made('/out/${item.key}')).toBe(`/out/runs/${name}.ckpt`);
  expect(made('s3://b/${item.key}')).toBe(`s3://b/runs/${name}.ckpt`);
});

test('the key of a file: URI is the name that the file has', () => {
  expect(itemOf('file:///in/run%231.ckpt', 'items[0]').key).toBe('run#1.ckpt');
  expect(itemOf('file:///in/50%.ckpt', 'items[0]').key).toBe('50%.ckpt');
  expect(itemOf('/in/run%231.ckpt', 'items[0]').key).toBe('run%231.ckpt');
});

test('a key is a text, as what YAML takes for a number is not what was written; none and an empty one are the name of the file', () => {
  for (const [key, kind] of [
    [123, 'number. Write it in quotes.'],
    [true, 'boolean. Write it in quotes.'],
    [['a'], 'list.'],
  ] as const)
    expect(refusal(() => itemOf({ uri: '/in/a.ckpt', key }, 'items[0]'))).toBe(
      `items[0]: items[0]: the \`key\` of an item is a text; got a ${kind}`,
    );
  for (const key of [undefined, null, '']) expect(itemOf({ uri: '/in/a.ckpt', key }, 'items[0]').key).toBe('a.ckpt');
});

test.each([
  ['a key', '/out/${item.key}.safetensors', '../../../../x', 'pipeline.stages[0].uri'],
  ['a folder of a key', 's3://b/${item.dir}/w.safetensors', '../x/y.ckpt', 'pipeline.stages[0].uri'],
  ['a part in pieces', '/out/.${item.key}', './x', 'pipeline.stages[0].uri'],
  ['an escaped part', '${item.to}/${item.key}', '%2E%2e/x', 'pipeline.stages[0].uri'],
  ['a backslash', '${item.to}/${item.key}', 'x\\..\\..\\y', 'pipeline.stages[0].uri'],
  ['an end of line in it', '${item.to}/${item.key}', '.\n./x', 'pipeline.stages[0].uri'],
  ['a column behind the own location', '${item.uri}/${item.key}', '../x', 'pipeline.stages[0].uri'],
  ['the folder itself', '/out/${item.key}', '.', 'pipeline.stages[0].uri'],
])('%s that leads out of the folder of the template is refused', (_, uri, key, path) => {
  const message = refusal(() => refuseClimbing({ stages: [{ type: 'sink.publish', uri }] }, item(key)));
  expect(message).toMatch(new RegExp(`^${path.replaceAll(/[.[\]]/g, '\\$&')}: .*lead out of that folder`, 's'));
});

test.each([
  ['keys in folders', '/out/${item.key}', 'runs/..a/b...safetensors'],
  ["the template's own parts", '/out/../${item.key}', 'x'],
  ['the whole location', '${item.to}', 'x'],
  ["what lies beside the item's own", '${item.to}.safetensors', 'x'],
  ['names in a file: URI that would lead out of it unescaped', 'file:///out/${item.key}', '%2E%2e/x\\..\\y/.\n./z'],
  ['a text that is not a location', 'of ${item.note}', 'x'],
])('%s stay as they are', (_, uri, key) => {
  const given = item(key, { to: '/in/../x', note: '../y' });
  expect(() => refuseClimbing({ stages: [{ type: 'sink.publish', uri }] }, given)).not.toThrow();
});

test('what will not go on, or not now, has no time left', () => {
  const pace = (status: BatchStatus) => paceOf({ ...NO_TOTALS, completed: 5, status, total: 10 }, 10_000);
  expect(pace('running')).toEqual({ rate: 0.5, seconds_left: 10 });
  for (const status of ['paused', 'stopping', 'failed', 'cancelled'] as const)
    expect(pace(status)).toEqual({ rate: 0.5, seconds_left: null });
  expect(paceOf({ ...NO_TOTALS, completed: 10, status: 'completed', total: 10 }, 10_000).seconds_left).toBe(0);
  expect(paceOf({ ...NO_TOTALS, status: 'running', total: 10 }, 10_000)).toEqual({ rate: null, seconds_left: null });
});
