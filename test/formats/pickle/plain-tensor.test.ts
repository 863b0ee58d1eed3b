/** Tensors that are taken in at one look against the machine that goes by opcodes: whatever the bytes are, both must say the same. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ordered, writePickle, type PickleValue } from '../../../bench/inputs/pickle.ts';
import { PICKLE_LIMITS, type PickleLimits } from '../../../src/formats/limits-pickle.ts';
import { PickleSyntaxError } from '../../../src/formats/pickle/cursor.ts';
import { tryPickle } from '../../../src/formats/pickle/read.ts';
import { torchHost } from '../../../src/formats/torch/tensors.ts';
import type { Storage, Tensor } from '../../../src/model/header.ts';
import type { GlobalUse, ValueNode } from '../../../src/model/value.ts';

const SHAPES = [[4], [4], [], [3, 4], [2, 3, 4], [2, 2, 3, 3], [1, 1, 2, 3, 2], [2000], [70_000, 2], [4], [0, 3]];
const bytes = writePickle(
  ordered(
    new Map(
      [...SHAPES, ...SHAPES].map((shape, index): [string, PickleValue] => [
        `layers.${index}.weight`,
        { kind: 'tensor', key: String(index), storage: index === 9 ? 'HalfStorage' : 'FloatStorage', shape },
      ]),
    ),
  ),
);

interface Seen {
  readonly outcome: unknown;
  readonly nodes: readonly ValueNode[];
  readonly storages: readonly Storage[];
  readonly tensors: readonly Tensor[];
  readonly globals: readonly GlobalUse[];
}

function read(pickle: Uint8Array, isAtOnce: boolean, limits: PickleLimits = PICKLE_LIMITS): Seen & { readonly atOnce: number } {
  const nodes: ValueNode[] = [];
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const globals: GlobalUse[] = [];
  let atOnce = 0;
  const { tensor, ...host } = torchHost({
    nodes,
    storages,
    tensors,
    locate: (key) => {
      const shape = SHAPES[Number(key) % SHAPES.length];
      const length = shape?.reduce((product, size) => product * size, Number(key) === 9 ? 2 : 4);
      return length === undefined ? undefined : { file: 0, location: { kind: 'range', offset: 0 }, length };
    },
  });
  const { result, failure } = tryPickle(pickle, {
    member: 'p',
    uri: 'file:///p',
    host: { nodes, globals, ...host, ...(isAtOnce ? { tensor: (each) => (atOnce++, tensor(each)) } : {}) },
    limits,
  });
  const refused = failure instanceof PickleSyntaxError ? [failure.name, failure.message, failure.position, failure.ambiguous] : failure;
  // What is left of a pickle that is refused is for nobody.
  return { outcome: { result, refused }, nodes: failure === undefined ? nodes : [], storages, tensors, globals, atOnce };
}

function expectSame(pickle: Uint8Array, limits?: PickleLimits): void {
  const { atOnce: _, ...seen } = read(pickle, true, limits);
  const { atOnce: none, ...byOpcodes } = read(pickle, false, limits);
  expect(none).toBe(0);
  expect(seen).toEqual(byOpcodes);
}

test('tensors of all ranks are taken in at one look, once their parts have been met', () => {
  const { outcome, tensors, atOnce } = read(bytes, true);
  expect(outcome).toMatchObject({ result: { consumed: bytes.length }, refused: undefined });
  expect(tensors.map(({ shape }) => shape)).toEqual([...SHAPES, ...SHAPES]);
  expect(atOnce).toBeGreaterThanOrEqual(SHAPES.length);
  expectSame(bytes);
});

test('whatever bytes are other, both ways say the same', () => {
  const change = fc.record({
    at: fc.nat({ max: bytes.length - 1 }),
    removed: fc.nat({ max: 2 }),
    added: fc.array(fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...bytes)), { maxLength: 2 }),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), fc.nat({ max: bytes.length }), (changes, length) => {
      const changed = [...bytes];
      for (const { at, removed, added } of changes) changed.splice(at, removed, ...added);
      expectSame(Uint8Array.from(changed));
      expectSame(Uint8Array.from(changed.slice(0, length)));
    }),
    { numRuns: 500 },
  );
});

test('both weigh the same, to the byte', () => {
  let accepted = 0;
  for (let memory = 0; memory < 40_000; memory += 211) {
    const limits = { ...PICKLE_LIMITS, memory, memoryTimes: 0 };
    expectSame(bytes, limits);
    if (read(bytes, true, limits).tensors.length === 2 * SHAPES.length) accepted++;
  }
  expect(accepted).toBeGreaterThan(0);
  expect(accepted).toBeLessThan(180);
});
