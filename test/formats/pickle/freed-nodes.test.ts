/**
 * The machine, which gives nodes free that were made for a tensor alone, against the same machine where none goes: whatever the opcodes,
 * both must say the same.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PickleSyntaxError } from '../../../src/formats/pickle/cursor.ts';
import { tryPickle } from '../../../src/formats/pickle/read.ts';
import { childrenOf } from '../../../src/model/tree.ts';
import type { NodeId, ValueNode } from '../../../src/model/value.ts';

interface Seen {
  readonly outcome: unknown;
  readonly value: string;
  /** What each tensor was made of. */
  readonly tensors: readonly string[];
  readonly kept: number;
}

function read(pickle: Uint8Array, isFreeing: boolean): Seen {
  const nodes: ValueNode[] = [];
  const tensors: string[] = [];
  const call = (module: string, _name: string, args: readonly NodeId[]): ValueNode | NodeId | undefined => {
    if (module !== 'torch._utils') return undefined;
    const made: ValueNode = { kind: 'tensor', tensor: tensors.push(args.map((arg) => told(nodes, arg)).join()) - 1 };
    // For a value that has its place already, nothing goes.
    return isFreeing ? made : nodes.push(made) - 1;
  };
  const { result, failure } = tryPickle(pickle, { member: 'p', uri: 'file:///p', host: { nodes, globals: [], call } });
  const refused = failure instanceof PickleSyntaxError ? [failure.message, failure.position, failure.ambiguous] : failure;
  const value = result === undefined ? '' : told(nodes, result.root);
  return { outcome: { consumed: result?.consumed, refused }, value, tensors, kept: nodes.length };
}

/** A value with all below it; what is met again is told by its place among them, not by its node. */
function told(nodes: readonly ValueNode[], root: NodeId): string {
  const places = new Map<NodeId, number>();
  const lines: string[] = [];
  const place = (id: NodeId): number => {
    const known = places.get(id);
    if (known !== undefined) return known;
    places.set(id, places.size);
    return places.size - 1;
  };
  place(root);
  for (const id of places.keys()) {
    const node = nodes[id];
    if (typeof node !== 'object' || node === null) {
      lines.push(JSON.stringify(node));
      continue;
    }
    const { kind, ...rest } = node as { kind: string; [field: string]: unknown };
    const fields = Object.entries(rest).filter(([, field]) => typeof field === 'string' || kind === 'tensor');
    lines.push(JSON.stringify([kind, ...fields, childrenOf(node).map(place)]));
  }
  return lines.join('\n');
}

const CLASSES = [
  'ctorch._utils\n_rebuild_tensor_v2\n',
  'ctorch._utils\n_rebuild_parameter\n',
  'ccollections\nOrderedDict\n',
  'cm\nThing\n',
];
const [TENSOR, PARAMETER, ORDERED, THING] = [0, 1, 2, 3];
/** In front of everything: the classes and some values are in the memo, and common numbers have their nodes. */
const HEAD = `(${CLASSES.map((name, index) => `${name}q${String.fromCharCode(index)}`).join('')}U\x01sq\x04]q\x05K\x00K\x01N\x88\x89`;
const FIRST = 6;

/** Part of a pickle. `#` is a place of the memo to store to, `@x` one to fetch, of those that there are. */
type Code = string;

const { value } = fc.letrec<{ value: Code; plain: Code; items: Code[]; tuple: Code; call: Code }>((tie) => ({
  plain: fc.constantFrom(
    'K\x00',
    'K\x01',
    'N',
    '\x88',
    'J\x00\x08\x00\x00',
    'U\x01a',
    'U\x01b',
    'G\x40\x00\x00\x00\x00\x00\x00\x00',
    ']',
    ')',
    '}',
  ),
  items: fc.array(tie('value'), { maxLength: 4 }),
  tuple: fc.oneof(
    tie('items').map((items) => `(${items.join('')}t`),
    tie('items').map(
      (items) =>
        [')', `${items[0]}\x85`, `${items.slice(0, 2).join('')}\x86`, `${items.slice(0, 3).join('')}\x87`][Math.min(3, items.length)]!,
    ),
    tie('items').map((items) => items.reduce((inner, item) => `${inner}${item}\x86`, ')')),
  ),
  call: fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .tuple(fc.constantFrom(TENSOR, TENSOR, PARAMETER, THING), tie('tuple'))
        .map(([name, args]) => `h${String.fromCharCode(name)}${args}R`),
    },
    fc.constant(`h${String.fromCharCode(ORDERED)})R`),
    fc
      .tuple(fc.constantFrom(TENSOR, PARAMETER, THING), tie('items'))
      .map(([name, items]) => `(h${String.fromCharCode(name)}${items.join('')}o`),
    fc.tuple(fc.constantFrom(TENSOR, THING), tie('items')).map(([name, items]) => `(${items.join('')}i${CLASSES[name]!.slice(1)}`),
    fc.tuple(tie('tuple'), tie('value')).map(([args, state]) => `h${String.fromCharCode(THING)}${args}\x81${state}b`),
    tie('tuple').map((args) => `h${String.fromCharCode(THING)}${args}}\x92`),
  ),
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 5, arbitrary: tie('plain') },
    { weight: 6, arbitrary: tie('call') },
    { weight: 2, arbitrary: tie('tuple') },
    { weight: 3, arbitrary: fc.nat({ max: 200 }).map((place) => `@${String.fromCharCode(place)}`) },
    { weight: 2, arbitrary: tie('value').map((kept) => `${kept}#`) },
    tie('items').map((items) => `](${items.join('')}e`),
    tie('items').map((items) => `(${items.join('')}l`),
    tie('items').map((items) => `}(${items.map((item, index) => `U\x01${index}${item}`).join('')}u`),
    // Into a list that is older.
    tie('value').map((item) => `h\x05${item}a`),
    fc.tuple(tie('value'), tie('value')).map(([dropped, next]) => `${dropped}0${next}`),
    fc.tuple(tie('items'), tie('value')).map(([dropped, next]) => `(${dropped.join('')}1${next}`),
    tie('value').map((twice) => `${twice}2\x86`),
  ),
}));

function pickleOf(values: readonly Code[]): Uint8Array {
  let stored = FIRST;
  const body = values
    .join('')
    .replaceAll(/#|@([^])/g, (_, place: string | undefined) =>
      place === undefined ? `q${String.fromCharCode(stored++)}` : `h${String.fromCharCode(place.charCodeAt(0) % stored)}`,
    );
  return Uint8Array.from(Buffer.from(`${HEAD}(${body}ll.`, 'latin1'));
}

function expectSame(pickle: Uint8Array): { readonly isRead: boolean; readonly isFreed: boolean } {
  const { kept, ...freeing } = read(pickle, true);
  const { kept: all, ...whole } = read(pickle, false);
  expect(freeing).toEqual(whole);
  return { isRead: whole.value !== '', isFreed: kept < all };
}

test('tuples by all opcodes, tensors within tensors, and values that wait on the stack', () => {
  let freed = 0;
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 12 }), (values) => {
      fc.pre(values.join('').split('#').length < 200);
      const { isRead, isFreed } = expectSame(pickleOf(values));
      expect(isRead).toBe(true);
      if (isFreed) freed++;
    }),
    { numRuns: 2_000 },
  );
  expect(freed).toBeGreaterThan(200);
});

test('a tuple that gets the node of one that went takes nothing with it', () => {
  // Behind the first tensor, as many texts as its arguments had nodes; then a tuple that no mark opened, in the place of theirs.
  for (let waiting = 0; waiting < 12; waiting++)
    for (const args of ['h\x04U\x01x\x86', 'h\x04U\x01x)\x87', 'U\x01x\x85'])
      for (const made of [`h\x01${args}R`, `(h\x01${args}o`, `h\x03${args}R`])
        expectSame(
          pickleOf([`h\x00(U\x01aU\x01bU\x01ctR`, ...Array.from({ length: waiting }, (_, index) => `U\x01${index % 10}`), made, 'U\x01y']),
        );
});

test('with bytes changed, too', () => {
  const change = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    removed: fc.nat({ max: 2 }),
    added: fc.array(fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...Buffer.from('()012Rtaelobs\x81\x85\x86\x87', 'latin1'))), {
      maxLength: 2,
    }),
  });
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 8 }), fc.array(change, { minLength: 1, maxLength: 3 }), (values, changes) => {
      const changed = [...pickleOf(values)];
      for (const { at, removed, added } of changes) changed.splice(Math.floor(at * changed.length), removed, ...added);
      expectSame(Uint8Array.from(changed));
    }),
    { numRuns: 1_000 },
  );
});
