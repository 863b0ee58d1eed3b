/** What a pickle may take of memory, by what it brings: honest ones of any size, and no small one that would cost much. */
import { expect, test } from '@jest/globals';
import { ordered, writePickle, type PickleValue } from '../../../bench/inputs/pickle.ts';
import { inflatesTooFar, limitsOfStored, PICKLE_LIMITS, pickleMemory, type PickleLimits } from '../../../src/formats/limits-pickle.ts';
import { tryPickle } from '../../../src/formats/pickle/read.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { scanFile } from '../../../src/formats/scan/scan.ts';
import { torchHost } from '../../../src/formats/torch/tensors.ts';
import type { Storage, Tensor } from '../../../src/model/header.ts';
import type { ValueNode } from '../../../src/model/value.ts';
import { memorySource } from '../../support/memory-source.ts';
import { zip } from '../../support/zip.ts';

const MIB = 2 ** 20;
/** Only the multiple of its bytes is left to a pickle. */
const BY_SIZE: PickleLimits = { ...PICKLE_LIMITS, memory: 0 };

function read(bytes: Uint8Array, limits: PickleLimits): { readonly tensors: number; readonly failure?: unknown } {
  const nodes: ValueNode[] = [];
  const tensors: Tensor[] = [];
  const locate = (): Storage => ({ file: 0, location: { kind: 'range', offset: 0 }, length: 64 });
  const host = { nodes, globals: [], ...torchHost({ nodes, storages: [], tensors, locate }) };
  const { failure } = tryPickle(bytes, { member: 'p', uri: 'file:///p', host, limits });
  return { tensors: tensors.length, failure };
}

function stateDict(tensors: number, name: (index: number) => string): Uint8Array {
  const weights = Array.from({ length: tensors }, (_, index): [string, PickleValue] => [
    name(index),
    { kind: 'tensor', key: String(index), storage: 'FloatStorage', shape: [4, 4] },
  ]);
  return writePickle(ordered(new Map(weights)));
}

test('a pickle of any size may take some, a large one more, none more than the process can bear', () => {
  const heap = 4096 * MIB;
  expect(pickleMemory(1, PICKLE_LIMITS, heap)).toBe(PICKLE_LIMITS.memory);
  expect(pickleMemory(14 * MIB, PICKLE_LIMITS, heap)).toBe(PICKLE_LIMITS.memory);
  expect(pickleMemory(27 * MIB, PICKLE_LIMITS, heap)).toBe(540 * MIB);
  expect(pickleMemory(PICKLE_LIMITS.bytes, PICKLE_LIMITS, heap)).toBe(PICKLE_LIMITS.memoryMost);
  expect(pickleMemory(PICKLE_LIMITS.bytes, PICKLE_LIMITS, 1024 * MIB)).toBe(512 * MIB);
  expect(pickleMemory(PICKLE_LIMITS.bytes, PICKLE_LIMITS, 256 * MIB)).toBe(PICKLE_LIMITS.memory);
});

test('a deflated one brings what it is stored as', () => {
  const heap = 4096 * MIB;
  const memoryOf = (stored: number, size: number): number => pickleMemory(size, limitsOfStored({ stored, size }), heap);
  expect(memoryOf(100 * MIB, 100 * MIB)).toBe(pickleMemory(100 * MIB, PICKLE_LIMITS, heap));
  expect(memoryOf(20 * MIB, 100 * MIB)).toBe(400 * MIB);
  expect(memoryOf(MIB, 100 * MIB)).toBe(PICKLE_LIMITS.memory);
});

test('one that inflates without end is refused before it does: each byte takes time, also where it makes nothing', async () => {
  const { inflated, inflatedTimes } = PICKLE_LIMITS;
  expect(inflatesTooFar({ stored: 1, size: inflated })).toBeUndefined();
  expect(inflatesTooFar({ stored: 1, size: inflated + 1 })).toBe(
    `it inflates from 1 bytes to ${inflated + 1}, more than ${inflatedTimes} times as many, which no checkpoint does`,
  );
  expect(inflatesTooFar({ stored: 2 * MIB, size: PICKLE_LIMITS.bytes })).toBeUndefined();
  for (const name of ['data.pkl', 'other.pkl']) {
    const large = Buffer.concat([Buffer.from('\x80\x02', 'latin1'), Buffer.alloc(17 * MIB, '(1'), Buffer.from('}.')]);
    const parts = [{ name: `a/${name}`, data: large, deflated: true }];
    if (name !== 'data.pkl') parts.unshift({ name: 'a/data.pkl', data: Buffer.from('\x80\x02}.', 'latin1'), deflated: false });
    const file = memorySource(zip(parts));
    await expect(readHeader(file)).rejects.toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringContaining(`the pickle a/${name} is not read, as it inflates from`),
    });
    const [scan] = await scanFile(file);
    expect(scan).toMatchObject({ verdict: 'corrupt' });
    expect(scan!.findings).toContainEqual(expect.objectContaining({ code: 'unread_pickle', member: `a/${name}` }));
  }
});

test('what inflates is told before it does, with its size then', async () => {
  const file = zip([
    {
      name: 'a/data.pkl',
      data: Buffer.concat([Buffer.from('\x80\x02', 'latin1'), Buffer.alloc(2 * MIB, '(1'), Buffer.from('}.')]),
      deflated: true,
    },
  ]);
  const told: number[] = [];
  const source = { ...memorySource(file), inflates: async (length: number) => void told.push(length) };
  await expect(readHeader(source)).rejects.toThrow();
  expect(told).toEqual([2 * MIB + 4]);
});

test.each(['data.pkl', 'other.pkl', 'other.bin'])('a deflated %s of an archive is bounded by what it is stored as', async (name) => {
  const large = Buffer.concat([Buffer.from('\x80\x02(', 'latin1'), Buffer.alloc(15 * MIB, 'N'), Buffer.from('t.')]);
  const parts = [{ name: `a/${name}`, data: large, deflated: true }];
  if (name !== 'data.pkl') parts.unshift({ name: 'a/data.pkl', data: Buffer.from('\x80\x02}.', 'latin1'), deflated: false });
  const file = memorySource(zip(parts));
  const [scan] = await scanFile(file);
  const refused = { message: expect.stringContaining(`would take more than ${PICKLE_LIMITS.memory} bytes`) };
  expect(scan?.findings).toContainEqual(expect.objectContaining(refused));
  // What is not a pickle by its name is none to a reader; nobody knows all of what it names.
  if (name === 'other.bin') expect(scan?.verdict).toBe('unknown');
  else await expect(readHeader(file)).rejects.toMatchObject(refused);
});

test.each([
  ['names of one letter', (index: number) => index.toString(36)],
  ['names as models have them', (index: number) => `model.layers.${index >> 4}.attention.${index & 15}.weight`],
  ['names that are long', (index: number) => `${'module.'.repeat(40)}${index}`],
])('tensors take less than their multiple: %s', (_, name) => {
  expect(read(stateDict(5_000, name), BY_SIZE)).toEqual({ tensors: 5_000, failure: undefined });
});

test.each([
  ['empty lists', ']'],
  ['empty dicts', '}'],
  ['dicts of one entry', '}NNs'],
  ['marks', '('],
  ['one value over and over', 'N'],
])('what takes more is refused, whatever its size: %s', (_, unit) => {
  for (const size of [MIB, 4 * MIB]) {
    const { failure } = read(new Uint8Array(Buffer.alloc(size, unit)), BY_SIZE);
    expect(failure).toMatchObject({ message: `reading it would take more than ${PICKLE_LIMITS.memoryTimes * size} bytes of memory` });
  }
});
