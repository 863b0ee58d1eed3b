/** Keys of dicts: which are one key, and what it costs to tell, whatever they share. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { keyPlaces } from '../../../src/formats/pickle/key-places.ts';
import { keyReader } from '../../../src/formats/pickle/keys.ts';
import type { NodeId, ValueNode } from '../../../src/model/value.ts';

const MIB = 2 ** 20;
/** A bound against hangs: milliseconds where some ten are needed, and minutes if each key went through all that it shares. */
const HANG = 20_000;

const fail = (message: string): never => {
  throw new Error(message);
};

type Part = string | number | null | { readonly bytes: string } | { readonly tuple: readonly Part[] } | { readonly set: readonly Part[] };

function nodeOf(nodes: ValueNode[], value: Part): NodeId {
  const items = (parts: readonly Part[]): NodeId[] => parts.map((part) => nodeOf(nodes, part));
  if (typeof value !== 'object' || value === null) return nodes.push(value) - 1;
  if ('bytes' in value) return nodes.push({ kind: 'bytes', base64: value.bytes }) - 1;
  if ('tuple' in value) return nodes.push({ kind: 'tuple', items: items(value.tuple) }) - 1;
  return nodes.push({ kind: 'frozenset', items: items(value.set) }) - 1;
}

function areEqual(one: Part, other: Part): boolean {
  if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) return one === other;
  if ('bytes' in one) return 'bytes' in other && one.bytes === other.bytes;
  if ('tuple' in one)
    return 'tuple' in other && one.tuple.length === other.tuple.length && one.tuple.every((part, at) => areEqual(part, other.tuple[at]!));
  const left = 'set' in other ? [...other.set] : [];
  return 'set' in other && one.set.length === left.length && one.set.every((part) => take(left, part));
}

function take(from: Part[], part: Part): boolean {
  const at = from.findIndex((each) => areEqual(each, part));
  if (at !== -1) from.splice(at, 1);
  return at !== -1;
}

const LONG = 'k'.repeat(3_000);
const { part } = fc.letrec<{ part: Part }>((tie) => ({
  part: fc.oneof(
    { depthSize: 'small' },
    { weight: 3, arbitrary: fc.constantFrom<Part>('', 'a', '1', 'n1', 1, 12, null, LONG, `${LONG}a`, `${LONG}b`) },
    fc.constantFrom('a', LONG, `${LONG}a`).map((bytes): Part => ({ bytes })),
    fc.array(tie('part'), { maxLength: 3 }).map((tuple): Part => ({ tuple })),
    fc.uniqueArray(tie('part'), { maxLength: 3, comparator: areEqual }).map((set): Part => ({ set })),
    fc.constantFrom(0, 1, 700).map((last): Part => ({ tuple: Array.from({ length: 701 }, (_, at) => (at === last ? 'x' : at)) })),
  ),
}));

test('keys have one text where they are equal, and only there', () => {
  fc.assert(
    fc.property(fc.array(part, { minLength: 2, maxLength: 8 }), (values) => {
      const nodes: ValueNode[] = [];
      const keyOf = keyReader(nodes, fail, () => undefined);
      const ids = values.map((value) => nodeOf(nodes, value));
      for (const [at, one] of values.entries())
        for (const [place, other] of values.entries())
          if ((keyOf(ids[at]!) === keyOf(ids[place]!)) !== areEqual(one, other)) throw new Error(`${at} and ${place}`);
    }),
    { numRuns: 300 },
  );
});

test('what is kept of a key is charged', () => {
  const nodes: ValueNode[] = [];
  let charged = 0;
  const keyOf = keyReader(nodes, fail, (bytes) => (charged += bytes));
  for (let index = 0; index < 100; index++) keyOf(nodeOf(nodes, { tuple: [`${'k'.repeat(900)}${index}`] }));
  expect(charged).toBeGreaterThan(100 * 900);
});

describe('values that keys share are gone through once', () => {
  /** Dicts of these keys, each as small as they get. */
  function addAll(nodes: ValueNode[], dicts: number, keysOf: (dict: number) => readonly NodeId[]): void {
    const places = keyPlaces(
      nodes,
      keyReader(nodes, fail, () => undefined),
      () => undefined,
    );
    const latest = Date.now() + HANG;
    for (let dict = 0; dict < dicts; dict++) {
      const keys = keysOf(dict);
      for (const [place, key] of keys.entries()) {
        if (places.add(-1 - dict, key, place, (at) => keys[at]!) !== undefined) throw new Error(`key ${place} is told apart from none`);
        if (Date.now() > latest) throw new Error(`dict ${dict} of ${dicts}`);
      }
    }
  }

  test('a long text in many keys of one dict', () => {
    const nodes: ValueNode[] = ['k'.repeat(MIB)];
    const keys = Array.from({ length: 10_000 }, (_, index) => nodes.push({ kind: 'tuple', items: [0, nodes.push(index) - 1] }) - 1);
    addAll(nodes, 1, () => keys);
  });

  test('a tuple of very many parts in many dicts', () => {
    const nodes: ValueNode[] = [];
    const key = nodeOf(nodes, { tuple: Array.from({ length: 200_000 }, (_, index) => index) });
    addAll(nodes, 20_000, () => [key]);
  });

  const ends = [...'abcdefg'];
  test.each([
    ['texts', ends.map((end): Part => `${'k'.repeat(8 * MIB)}${end}`)],
    ['bytes', ends.map((end): Part => ({ bytes: `${'k'.repeat(8 * MIB)}${end}` }))],
  ])('long %s that differ in their last character, in many dicts', (_, values) => {
    const nodes: ValueNode[] = [];
    const keys = values.map((value) => nodeOf(nodes, value));
    addAll(nodes, 5_000, () => keys);
  });
});
