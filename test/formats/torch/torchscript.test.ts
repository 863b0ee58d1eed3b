/** Module trees that share: names as `state_dict()` gives them, and no more work than what is told of them. */
import { expect, test } from '@jest/globals';
import { findModuleWeights } from '../../../src/formats/torch/torchscript.ts';
import type { ModuleClass } from '../../../src/formats/torch/torchscript-classes.ts';
import { BUFFERS_UNKNOWN } from '../../../src/model/header.ts';
import type { NodeId, ValueNode } from '../../../src/model/value.ts';

/** What a class declares beside its attributes; a tensor that is not named is a parameter. */
interface Declared {
  readonly buffers?: readonly string[] | null;
  readonly plain?: readonly string[];
  readonly types?: Readonly<Record<string, string>>;
  readonly hasOwnState?: boolean;
}

/** A table of modules; `looked` counts how often attributes were looked through. */
function moduleTable() {
  const nodes: ValueNode[] = [];
  const looked = { times: 0 };
  const classes = new Map<string, ModuleClass | null>();
  const add = (node: ValueNode): NodeId => nodes.push(node) - 1;
  const tensor = (): NodeId => add({ kind: 'tensor', tensor: 0 });
  const typeOf = (id: NodeId): string => {
    const node = nodes[id];
    if (typeof node !== 'object' || node === null) return 'bool';
    return { tensor: 'Tensor', object: '__torch__.M' }[node.kind as string] ?? 'List[Tensor]';
  };
  const object = (name: string, state: NodeId): NodeId => add({ kind: 'object', module: '__torch__', name, args: -1, state });
  const module = (
    slots: Readonly<Record<string, NodeId>>,
    { buffers = [], plain = [], types = {}, hasOwnState = false }: Declared = {},
  ): NodeId => {
    const entries = Object.entries(slots).map(([name, value]) => [add(name), value] as const);
    const state = add({
      kind: 'dict',
      get entries() {
        looked.times++;
        return entries;
      },
    });
    const attributes = new Map(Object.entries(slots).map(([name, value]) => [name, types[name] ?? typeOf(value)]));
    const others = new Set([...(buffers ?? []), ...plain]);
    const tensors = [...attributes].flatMap(([name, type]) => (type === 'Tensor' && !others.has(name) ? [name] : []));
    const name = `M${classes.size}`;
    const isGuessed = buffers === null;
    classes.set(name, { attributes, parameters: new Set(tensors), buffers: isGuessed ? undefined : new Set(buffers), hasOwnState });
    return object(name, state);
  };
  const find = (root: NodeId, constants = 0) =>
    findModuleWeights({ root, nodes }, [], 'file:///m.pt', (_, name) => classes.get(name) ?? null, { code: [], constants });
  return { nodes, looked, classes, add, tensor, object, module, find };
}

const named = ({ weights }: { readonly weights: readonly { readonly name: string }[] }) => weights.map(({ name }) => name);
const saying = (code: string, message: string) => expect.objectContaining({ code, message: expect.stringContaining(message) });

const times = <T>(count: number, of: (index: number) => T, prefix = 'm'): Readonly<Record<string, T>> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`${prefix}${index}`, of(index)]));

test('the tensors of a module, then those of its modules in their order; a plain attribute is none of them', () => {
  const { add, tensor, module, find } = moduleTable();
  const leaf = module({ weight: tensor(), training: add(true), cache: tensor() }, { plain: ['cache'] });
  const root = module({ first: module({ inner: leaf, own: tensor() }), bias: tensor(), second: leaf });
  const found = find(root);
  expect(named(found)).toEqual(['bias', 'first.own', 'first.inner.weight', 'second.weight']);
  expect(found.attributes).toEqual(['first.inner.cache', 'second.cache'].map((name) => ({ name, is: 'a plain attribute', tensors: 1 })));
});

test('parameters come before buffers wherever they stand, behind `training` as well', () => {
  const { add, tensor, module, find } = moduleTable();
  const back = module({ training: add(true), mean: tensor(), bias: tensor() }, { buffers: ['mean'] });
  const found = find(module({ training: add(true), early: tensor(), back, w: tensor() }, { plain: ['early'] }));
  expect(named(found)).toEqual(['w', 'back.bias', 'back.mean']);
});

test('torch before 1.6 did not say what is a buffer: every other tensor is, and it is told', () => {
  const { add, tensor, module, find } = moduleTable();
  const found = find(module({ cache: tensor(), training: add(true), w: tensor() }, { buffers: null, plain: ['cache'] }));
  expect(named(found)).toEqual(['w', 'cache']);
  expect(found.findings).toContainEqual(saying(BUFFERS_UNKNOWN, 'for a buffer: cache'));
});

test('tensors in lists, in objects of data and in an optional buffer are told of', () => {
  const { add, tensor, classes, object, module, find } = moduleTable();
  classes.set('Data', null);
  const entries = [[add('x'), tensor()]] as const;
  const slots = {
    w: tensor(),
    list: add({ kind: 'list', items: [tensor(), tensor()] }),
    data: object('Data', add({ kind: 'dict', entries })),
    b: tensor(),
  };
  const found = find(module(slots, { buffers: ['b'], types: { b: 'Optional[Tensor]' } }));
  expect(named(found)).toEqual(['w']);
  expect(found.attributes?.map(({ name, tensors }) => [name, tensors])).toEqual([
    ['list', 2],
    ['data', 1],
    ['b', 1],
  ]);
});

test('a parameter that is None is no weight; one that the pickle lacks is an error', () => {
  const { add, nodes, classes, tensor, module, find } = moduleTable();
  const root = module({ w: tensor(), none: add(null) }, { types: { none: 'Tensor' } });
  expect(named(find(root))).toEqual(['w']);
  const { name } = nodes[root] as { name: string };
  const declared = classes.get(name)!;
  classes.set(name, { ...declared, attributes: new Map([...declared.attributes, ['lost', 'Tensor']]), parameters: new Set(['w', 'lost']) });
  expect(() => find(root)).toThrow('the module has no "lost" in data.pkl, which its class declares as a parameter');
});

test('a module that its own code makes is refused where it has weights, and told of where it has none', () => {
  const { add, tensor, module, find } = moduleTable();
  const packed = module({ state: tensor(), training: add(true) }, { plain: ['state'], hasOwnState: true });
  const found = find(module({ packed, w: tensor() }));
  expect(named(found)).toEqual(['w']);
  expect(found.attributes).toEqual([{ name: 'packed.__getstate__()', is: 'a plain attribute', tensors: 1 }]);
  const own = module({ w: tensor() }, { hasOwnState: true });
  expect(() => find(module({ own, w: tensor() }))).toThrow(
    'the module "own" makes its parameter "w" in __setstate__, code that is not run',
  );
});

test('constants of the code are told of beside the weights', () => {
  const { tensor, module, find } = moduleTable();
  expect(find(module({ w: tensor() }), 2).attributes).toEqual([{ name: 'CONSTANTS', is: 'constants of its code', tensors: 2 }]);
});

test('without weights it is asked whether the module was frozen only where its code has constants', () => {
  const { add, tensor, module, find } = moduleTable();
  const empty = module({ training: add(true), scale: tensor() }, { plain: ['scale'] });
  expect(() => find(empty, 3)).toThrow('Its code has 3 tensors as constants. Was it frozen?');
  expect(() => find(empty)).toThrow('has no parameters or buffers. Plain attributes hold 1 tensor, which state_dict() leaves out: scale.');
});

test('attributes of a shared module are looked through once', () => {
  const { looked, tensor, module, find } = moduleTable();
  const leaf = module({ w: tensor() });
  const middle = module(times(30, () => leaf));
  expect(find(module(times(30, () => middle))).weights).toHaveLength(900);
  expect(looked.times).toBe(3);
});

test.each([
  ['parameters', {}],
  ['plain attributes', { plain: Array.from({ length: 100 }, (_, index) => `w${index}`) }],
])('%s of shared modules are at most as many as of other files', (_, declared) => {
  const { tensor, module, find } = moduleTable();
  const leaf = module(times(100, tensor, 'w'), declared);
  const middle = module(times(100, () => leaf));
  expect(() => find(module({ w: tensor(), ...times(100, () => middle) }))).toThrow(
    expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringContaining('more than 600000 tensors') }),
  );
});

test('shared modules are counted each time', () => {
  const { module, tensor, find } = moduleTable();
  const leaf = module({});
  const middle = module(times(1001, () => leaf));
  expect(() => find(module({ w: tensor(), ...times(1000, () => middle) }))).toThrow('more than 1000000 modules');
});

test('what a class declares is looked through once, however many objects of it lack it', () => {
  const { add, tensor, classes, object, module, find } = moduleTable();
  let looked = 0;
  class Counted extends Map<string, string> {
    override [Symbol.iterator]() {
      looked++;
      return this.entries();
    }
  }
  const plain = { attributes: new Counted([['a', 'int']]), parameters: new Set<string>(), buffers: new Set<string>(), hasOwnState: false };
  classes.set('Plain', plain);
  classes.set('Own', { ...plain, attributes: new Counted([['a', 'int']]), hasOwnState: true });
  const empty = add({ kind: 'dict', entries: [] });
  const many = { ...times(20, () => object('Plain', empty), 'p'), ...times(20, () => object('Own', empty), 'o') };
  expect(named(find(module({ w: tensor(), ...many })))).toEqual(['w']);
  expect(looked).toBe(2);
});

test('long names of modules inside one another are refused before they fill the memory', () => {
  const { tensor, module, find } = moduleTable();
  const name = 'n'.repeat(1000);
  let inner = module({});
  for (let depth = 0; depth < 100; depth++) inner = module({ [name]: inner });
  expect(() => find(module({ w: tensor(), inner }))).toThrow('a module whose name has more than 16384 characters');
});

test('a module that contains itself further down is refused', () => {
  const { nodes, add, tensor, module, find } = moduleTable();
  const inner = module({ b: add(null) }, { types: { b: '__torch__.M' } });
  const root = module({ w: tensor(), a: inner });
  const { state } = nodes[inner] as { state: NodeId };
  nodes[state] = { kind: 'dict', entries: [[add('b'), root]] };
  expect(() => find(root)).toThrow('the module "a.b" contains itself');
});

test('attributes that many objects share are looked up once', () => {
  const { nodes, looked, add, tensor, classes, object, module, find } = moduleTable();
  classes.set('Plain', { attributes: new Map(), parameters: new Set(), buffers: new Set(), hasOwnState: false });
  const { state } = nodes[module({ a: add(true) })] as { state: NodeId };
  expect(named(find(module({ w: tensor(), ...times(20, () => object('Plain', state)) })))).toEqual(['w']);
  expect(looked.times).toBe(2);
});
