/** What is short in a document, as everybody understands it: the command line, clients, and the workflow itself. */
import { describe, expect, test } from '@jest/globals';
import { isCheckpointError } from '../../src/errors.ts';
import { checkBatch } from '../../src/pipeline/batch-document.ts';
import { checkDocument } from '../../src/pipeline/document.ts';
import { checkSchedule } from '../../src/pipeline/schedule.ts';

const publish = { type: 'sink.publish', uri: '/out.safetensors' };

function refusalOf(act: () => unknown): { readonly path: unknown; readonly message: string } {
  try {
    act();
  } catch (error) {
    if (isCheckpointError(error) && error.code === 'CheckpointConfigError')
      return { path: error.details['config_path'], message: error.message };
    throw error;
  }
  throw new Error('it should have been refused');
}

test.each([
  [{ source: 's3://b/k' }, { type: 'source.s3', url: 's3://b/k' }],
  [
    { source: 'HTTPS://h/k', timeout: 5 },
    { type: 'source.http', url: 'HTTPS://h/k', timeout: 5 },
  ],
  [{ source: 'file:///a.ckpt' }, { type: 'source.local', path: 'file:///a.ckpt' }],
  [
    { source: '/a.ckpt', state_dict_key: 'ema' },
    { type: 'source.local', path: '/a.ckpt', state_dict_key: 'ema' },
  ],
  [
    { type: 'local', path: '/a.ckpt' },
    { type: 'source.local', path: '/a.ckpt' },
  ],
  [{ type: 'freeze' }, { type: 'modifier.freezing' }],
  [
    { type: 'publish', uri: '/x' },
    { type: 'sink.publish', uri: '/x' },
  ],
  [
    { type: 'mine', source: 's3://b/k' },
    { type: 'mine', source: 's3://b/k' },
  ],
])('a stage %j', (given, plain) => {
  expect(checkDocument({ stages: [given] })).toEqual({ stages: [plain] });
});

test('a source at the root comes first, holders of anchors are gone, and a plain document stays as it is', () => {
  const plain = { name: 'n', stages: [{ type: 'source.local', path: '/a.ckpt' }, publish], report: true };
  expect(checkDocument({ name: 'n', source: '/a.ckpt', stages: [publish], 'x-sink': publish, report: true })).toEqual(plain);
  expect(checkDocument(plain)).toEqual(plain);
});

describe('errors say where that stands in the document as it was given', () => {
  test.each<[object, string]>([
    [{ source: 'ftp://h/k', stages: [] }, 'source'],
    [{ source: 7, stages: [] }, 'source'],
    [{ stages: [{ source: 's3://b/k', url: 's3://b/k' }] }, 'stages[0].source'],
    [{ source: '/a', stages: [{ ...publish, timeout: -1 }] }, 'stages[0].timeout'],
    [{ source: '/a', stages: ['publish'] }, 'stages[0]'],
    [{ stages: [{ type: 'lora' }] }, 'stages[0].type'],
  ])('%j → %s', (document, path) => {
    expect(refusalOf(() => checkDocument(document)).path).toBe(path);
    expect(refusalOf(() => checkBatch({ items: ['/a'], pipeline: document })).path).toBe(`pipeline.${path}`);
  });
});

test('and in words count no stages, of which `source` has made one more', () => {
  expect(refusalOf(() => checkDocument({ source: '/a', stages: [5] }))).toEqual({
    path: 'stages[0]',
    message: 'A stage must be a mapping with a `type`, such as `type: source.local`; got a number.',
  });
  expect(refusalOf(() => checkDocument({ source: '/a', stages: [{}] }))).toEqual({
    path: 'stages[0].type',
    message: 'A stage has no `type`. Run `ckpt stages` for the list.',
  });
});

test('a key that is not known: the list has the short ones', () => {
  expect(refusalOf(() => checkDocument({ sourc: '/a', stages: [] })).message).toContain('Did you mean `source`?');
});

test('batches and schedules take it, too', () => {
  const short = { source: '/data/${item.key}', stages: [{ type: 'publish', uri: '/out' }], 'x-a': 1 };
  const pipeline = {
    stages: [
      { type: 'source.local', path: '/data/${item.key}' },
      { type: 'sink.publish', uri: '/out' },
    ],
  };
  expect(checkBatch({ items: ['/a'], pipeline: short })).toEqual({ items: ['/a'], pipeline });
  expect(checkSchedule({ every: 60, pipeline: short })).toEqual({ every: 60, pipeline });
  expect(checkSchedule({ every: 60, batch: { items: ['/a'], pipeline: short } })).toEqual({
    every: 60,
    batch: { items: ['/a'], pipeline },
  });
});

test('a source that an item names does not say which stage reads it', () => {
  const batch = { items: { uri: 's3://b/' }, pipeline: { source: '${item.uri}', stages: [publish] } };
  expect(refusalOf(() => checkBatch(batch))).toEqual({
    path: 'pipeline.source',
    message: expect.stringContaining("`url: '${item.uri}'`"),
  });
});
