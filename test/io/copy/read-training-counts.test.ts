/** Epoch and step that are tensors: read where that takes a few bytes, left alone where it does not. */
import { expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import { withCounts } from '../../../src/io/copy/read-training-counts.ts';
import type { Header } from '../../../src/model/header.ts';
import { memorySource } from '../../support/memory-source.ts';
import type { Pickled } from '../../support/pickle.ts';
import { dict, tensor, torchFile } from '../../support/torch-file.ts';

/** A view of storages of F32, and what of the weights is none of its own. */
function checkpoint(values: Readonly<Record<string, Pickled>>, storages: Readonly<Record<string, Uint8Array>>): Uint8Array {
  return torchFile(dict({ state_dict: dict({ w: tensor(0) }), ...values }), { 0: Buffer.alloc(8), ...storages });
}

function floats(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeFloatLE(value, 4 * index));
  return bytes;
}

async function counts(bytes: Uint8Array): Promise<Pick<Header['training'], 'epoch' | 'global_step'>> {
  const header = await readHeader(memorySource(bytes));
  const { training } = await withCounts(header, async () => memorySource(bytes), new AbortController().signal);
  return { epoch: training.epoch, global_step: training.global_step };
}

test('tensors of one whole number are read, numbers stay as they are', async () => {
  expect(await counts(checkpoint({ epoch: tensor(1, []), global_step: tensor(2, [1]) }, { 1: floats(7), 2: floats(900) }))).toEqual({
    epoch: 7,
    global_step: 900,
  });
  expect(await counts(checkpoint({ epoch: 3, global_step: tensor(2, [1]) }, { 2: floats(900) }))).toEqual({ epoch: 3, global_step: 900 });
});

test.each<[string, Readonly<Record<string, Pickled>>, Readonly<Record<string, Uint8Array>>]>([
  ['a fraction', { epoch: tensor(1, []) }, { 1: floats(7.5) }],
  ['no number', { epoch: tensor(1, []) }, { 1: floats(Number.NaN) }],
  ['of several elements', { epoch: tensor(1, [2]) }, { 1: floats(7, 8) }],
  ['no tensor', { epoch: 'seven' }, {}],
])('what is %s is none', async (_, values, storages) => {
  expect(await counts(checkpoint(values, storages))).toEqual({ epoch: null, global_step: null });
});

test('a weight of such a name is a weight', async () => {
  expect(await counts(torchFile(dict({ epoch: tensor(1, []) }), { 1: floats(7) }))).toEqual({ epoch: null, global_step: null });
});

test('damaged ones are left to who copies them', async () => {
  const bytes = Buffer.from(checkpoint({ epoch: tensor(1, []) }, { 1: floats(7) }));
  // In the local header of its member, which nothing else asks for.
  bytes.write('X', bytes.indexOf('archive/data/1'));
  expect(await counts(bytes)).toEqual({ epoch: null, global_step: null });
});
