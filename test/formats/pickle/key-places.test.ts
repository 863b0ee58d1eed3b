import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { keyPlaces } from '../../../src/formats/pickle/key-places.ts';
import { keyReader } from '../../../src/formats/pickle/keys.ts';
import type { NodeId, ValueNode } from '../../../src/model/value.ts';

const fail = (message: string): never => {
  throw new Error(message);
};

test('a key has the place of the first that equals it, whether there are few of them or many', () => {
  const item = fc.oneof(fc.string({ maxLength: 1 }), fc.integer({ min: -3, max: 12 }), fc.constantFrom(null, true, false));
  const key = fc.oneof(
    item,
    item.map((part): readonly unknown[] => [part]),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), key), { maxLength: 120 }), (added) => {
      const nodes: ValueNode[] = [];
      const nodeOf = (value: unknown): NodeId =>
        nodes.push(Array.isArray(value) ? { kind: 'tuple', items: value.map(nodeOf) } : (value as ValueNode)) - 1;
      const keyOf = keyReader(nodes, fail, () => undefined);
      const places = keyPlaces(nodes, keyOf, () => undefined);
      const held: NodeId[][] = [[], [], []];
      const expected = held.map(() => new Map<string, number>());
      for (const [target, value] of added) {
        const id = nodeOf(value);
        const list = held[target]!;
        const known = expected[target]!.get(keyOf(id));
        expect(places.add(target, id, list.length, (place) => list[place]!)).toBe(known);
        if (known === undefined) expected[target]!.set(keyOf(id), list.push(id) - 1);
      }
    }),
    { numRuns: 300 },
  );
});
