/** Values that a pickle writes once and fetches from its memo very often: what is done with each is bounded by what is charged. */
import { describe, expect, test } from '@jest/globals';
import { PICKLE_LIMITS } from '../../../src/formats/limits-pickle.ts';
import { readPickle, tryPickle } from '../../../src/formats/pickle/read.ts';
import type { ValueNode } from '../../../src/model/value.ts';

const MIB = 2 ** 20;
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const keys = (count: number): string => Array.from({ length: count }, (_, index) => `U\x05${String(index).padStart(5, '0')}N`).join('');

describe('a dict of keyword arguments', () => {
  const CALL = 'h\x00)h\x01\x92';

  test('is looked through once, and what is new in it', () => {
    const nodes: ValueNode[] = [];
    let looked = 0;
    // A persistent id stands where the dict is complete: from there on every look at an entry counts.
    const persistent = (id: number): ValueNode => {
      const dict = nodes[id] as { entries: readonly (readonly [number, number])[] };
      dict.entries = new Proxy(dict.entries, {
        get: (entries, name, receiver): unknown => {
          if (typeof name === 'string' && /^\d+$/.test(name)) looked++;
          return Reflect.get(entries, name, receiver) as unknown;
        },
      });
      return null;
    };
    const calls = `(${CALL.repeat(500)}l`;
    const pickle = `(cm\nThing\nq\x00}(${keys(1_000)}uq\x01h\x01Q${calls}h\x01U\x01xNs0${calls}l.`;
    const { failure } = tryPickle(bytesOf(pickle), { member: 'p', uri: 'file:///p', host: { nodes, globals: [], persistent } });
    expect(failure).toBeUndefined();
    expect(looked).toBeGreaterThanOrEqual(1_001);
    // Values are walked over twice when all are read.
    expect(looked).toBeLessThan(5_000);
  });

  test.each([
    ['from the start', `cm\nThing\nq\x00}K\x01Nsq\x01(${CALL}l`],
    ['among many', `cm\nThing\nq\x00}(${keys(20)}K\x01Nuq\x01(${CALL}l`],
    ['from its second call on', `cm\nThing\nq\x00}(${keys(2)}uq\x01(${CALL}h\x01K\x01Ns${CALL}l`],
  ])('holds a key that is not text %s', (_, pickle) => {
    const read = (): unknown => readPickle(bytesOf(`(${pickle}l.`), { member: 'p', uri: 'file:///p', host: { nodes: [], globals: [] } });
    expect(read).toThrow(
      expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringContaining('a keyword that is not text') }),
    );
  });
});

test.each([
  ['set', 'cbuiltins\nset\n', `(${'N'.repeat(50_000)}l`],
  ['frozenset', 'cbuiltins\nfrozenset\n', `(${'N'.repeat(50_000)}l`],
  ['dict', 'ccollections\nOrderedDict\n', `NN\x86q\x02(${'h\x02'.repeat(50_000)}l`],
])('a list of equal values that very many calls make a %s of is charged each time', (_, callee, list) => {
  const limits = { ...PICKLE_LIMITS, memory: 16 * MIB, memoryTimes: 0 };
  const read = (calls: number): unknown => {
    const pickle = bytesOf(`(${callee}q\x00${list}q\x01h\x01\x85q\x03${'h\x00h\x03R'.repeat(calls)}l.`);
    return tryPickle(pickle, { member: 'p', uri: 'file:///p', host: { nodes: [], globals: [] }, limits }).failure;
  };
  expect(read(1)).toBeUndefined();
  expect(read(100)).toMatchObject({ message: `reading it would take more than ${16 * MIB} bytes of memory` });
});

describe('a global by texts that are longer than any name', () => {
  const long = `X\x00\x00\x10\x00${'k'.repeat(MIB)}`;
  const read = (pickle: string): unknown =>
    readPickle(bytesOf(pickle), { member: 'p', uri: 'file:///p', host: { nodes: [], globals: [] } });

  test('is refused', () => {
    const message = expect.stringContaining(`a global whose name has ${MIB + 1} characters`);
    for (const pickle of [`${long}U\x01m\x93.`, `U\x01m${long}\x93.`])
      expect(() => read(pickle)).toThrow(expect.objectContaining({ message }));
  });

  test('and named where it is dangerous', () => {
    const chain = 'path.os.'.repeat(1_000);
    const size = String.fromCharCode((chain.length + 6) & 255, (chain.length + 6) >> 8);
    expect(() => read(`U\x02osX${size}\x00\x00${chain}system\x93.`)).toThrow(
      expect.objectContaining({ code: 'CheckpointValidationError' }),
    );
  });
});
