/** What torch's calls make of their arguments, where more than one reading would do: as torch does, or refused. */
import { describe, expect, test } from '@jest/globals';
import { readPickle } from '../../../src/formats/pickle/read.ts';
import { torchHost } from '../../../src/formats/torch/tensors.ts';
import type { Storage, Tensor } from '../../../src/model/header.ts';
import type { ValueNode } from '../../../src/model/value.ts';
import { pickle, type Pickled } from '../../support/pickle.ts';

/** Every storage has eight bytes. */
const BYTES = 8;

function read(value: Pickled, byteOrder?: 'big', bytes = BYTES): readonly Tensor[] {
  const nodes: ValueNode[] = [];
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const locate = (): Storage => ({
    file: 0,
    location: { kind: 'range', offset: 0 },
    length: bytes,
    ...(byteOrder === undefined ? {} : { byteOrder }),
  });
  const host = { nodes, globals: [], ...torchHost({ nodes, storages, tensors, locate }) };
  const { root } = readPickle(pickle(value), { member: 'p', uri: 'file:///p', host });
  const top = nodes[root] as { readonly kind: string; readonly tensor?: number; readonly items?: readonly number[] };
  const ids = top.kind === 'list' ? top.items!.map((item) => (nodes[item] as { tensor: number }).tensor) : [top.tensor!];
  return ids.map((id) => tensors[id]!);
}

const refused = (message: string): unknown =>
  expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringContaining(message) });

interface Given {
  readonly storage?: string;
  readonly elements?: number;
  readonly key?: string;
  readonly shape?: number;
  readonly grad?: boolean;
  /** By the third form, which names a dtype. */
  readonly dtype?: string;
  readonly metadata?: Pickled;
}

function tensor({ storage = 'FloatStorage', elements = 2, key = '0', shape = 1, grad = false, dtype, metadata }: Given = {}): Pickled {
  const persistent = { tuple: ['storage', { global: `torch.${storage}` }, key, 'cpu', elements] };
  const size: Pickled = { tuple: [shape] };
  const hooks: Pickled = { call: 'collections.OrderedDict', args: [] };
  return {
    call: `torch._utils._rebuild_tensor_${dtype === undefined ? 'v2' : 'v3'}`,
    args: [
      { persistent },
      0,
      size,
      { tuple: [1] },
      grad,
      hooks,
      ...(dtype === undefined ? [] : [{ global: `torch.${dtype}` }]),
      ...(metadata === undefined ? [] : [metadata]),
    ],
  };
}

describe('metadata of a tensor', () => {
  const noted = (...entries: readonly (readonly [string, Pickled])[]): readonly Tensor[] => read(tensor({ metadata: { dict: entries } }));

  test('sets bits by the names it has', () => {
    expect(noted()).toEqual([{ dtype: 'F32', shape: [1], storage: 0, offset: 0 }]);
    expect(noted(['neg', true])).toMatchObject([{ negative: true }]);
    expect(noted(['conj', true], ['neg', true])).toMatchObject([{ conjugate: true, negative: true }]);
    expect(noted(['format', false])).toEqual(noted());
  });

  test.each(['conj', 'neg'])('%s that is False is refused: torch sets the bit whatever it is', (name) => {
    expect(() => noted([name, false])).toThrow(refused(`tensor metadata ${name} is False`));
    expect(() => noted(['format', true], [name, false])).toThrow(refused(`tensor metadata ${name} is False`));
  });

  test('of many entries is refused, as very many tensors may share it', () => {
    const many = Array.from({ length: 9 }, (_, index): [string, Pickled] => [`k${index}`, true]);
    expect(noted(...many.slice(1))).toEqual(noted());
    expect(() => noted(...many)).toThrow(refused('tensor metadata of 9 entries, at most 8'));
  });
});

describe('gradients', () => {
  const parameter = (data: Pickled, grad: boolean): Pickled => ({
    call: 'torch._utils._rebuild_parameter',
    args: [data, grad, { call: 'collections.OrderedDict', args: [] }],
  });

  test('a parameter has one where it asks for it, whatever its tensor did', () => {
    const of = (value: Pickled): unknown => read(value)[0]!.requiresGrad;
    expect([true, false].map((inner) => [true, false].map((outer) => of(parameter(tensor({ grad: inner }), outer))))).toEqual([
      [true, undefined],
      [true, undefined],
    ]);
    expect(read(parameter(tensor({ grad: true }), false))[0]).not.toHaveProperty('requiresGrad');
    expect(of(tensor({ grad: true }))).toBe(true);
  });

  test('one made by its class has one unless it says no', () => {
    const made = (...args: readonly Pickled[]): Tensor => read({ call: 'torch.nn.parameter.Parameter', args })[0]!;
    expect(made(tensor())).toMatchObject({ parameter: true, requiresGrad: true });
    expect(made(tensor(), true)).toMatchObject({ parameter: true, requiresGrad: true });
    expect(made(tensor({ grad: true }), false)).toEqual({ dtype: 'F32', shape: [1], storage: 0, offset: 0, parameter: true });
    expect(() => made(tensor({ storage: 'IntStorage' }))).toThrow(refused('a gradient for a tensor of I32'));
    expect(() => made(tensor(), 1)).toThrow(refused('requires_grad is not a bool'));
  });

  test.each([
    ['bits8', 'ByteStorage', 8],
    ['bits16', 'ShortStorage', 4],
    ['uint16', 'ShortStorage', 4],
    ['bool', 'BoolStorage', 8],
  ])('of %s there are none', (dtype, storage, elements) => {
    expect(read(tensor({ dtype, storage, elements }))).toHaveLength(1);
    expect(() => read(tensor({ dtype, storage, elements, grad: true }))).toThrow(refused('a gradient for a tensor of'));
    expect(() => read(parameter(tensor({ dtype, storage, elements }), true))).toThrow(refused('a gradient for a tensor of'));
  });

  test.each([
    ['float32', 'FloatStorage', 2],
    ['float8_e4m3fn', 'ByteStorage', 8],
    ['complex64', 'FloatStorage', 2],
  ])('of %s there are', (dtype, storage, elements) => {
    expect(read(tensor({ dtype, storage, elements, grad: true }))[0]!.requiresGrad).toBe(true);
  });
});

describe('a storage that is described twice', () => {
  const twice = (elements: number, ...storages: readonly string[]): Pickled =>
    storages.map((storage) => tensor({ storage, elements, shape: Math.min(elements, 1) }));

  test('has a tensor of each dtype where it has no bytes, as torch loads it', () => {
    const found = read(twice(0, 'FloatStorage', 'IntStorage', 'FloatStorage', 'IntStorage'), undefined, 0);
    expect(found.map(({ dtype, shape, storage }) => [dtype, shape, storage])).toEqual([
      ['F32', [0], 0],
      ['I32', [0], 1],
      ['F32', [0], 0],
      ['I32', [0], 1],
    ]);
  });

  test('is refused where it has bytes, of which versions of torch make different tensors', () => {
    expect(read(twice(2, 'FloatStorage', 'FloatStorage'))).toHaveLength(2);
    expect(() => read(twice(2, 'FloatStorage', 'IntStorage'))).toThrow(refused('is described twice, differently'));
    expect(() => read([tensor({ elements: 2 }), tensor({ elements: 0, shape: 0 })])).toThrow(refused('is described twice'));
  });
});

describe('a dtype that is not that of the storage', () => {
  test.each([
    ['uint16', 'ByteStorage', 8],
    ['uint16', 'IntStorage', 2],
    ['complex64', 'DoubleStorage', 1],
    ['float64', 'ComplexFloatStorage', 1],
  ])('%s over a %s is none in a big-endian archive: torch turns numbers of another size', (dtype, storage, elements) => {
    expect(read(tensor({ dtype, storage, elements }))[0]).not.toHaveProperty('unsupported');
    expect(read(tensor({ dtype, storage, elements }), 'big')[0]).toMatchObject({ unsupported: 'big_endian_dtype' });
  });

  test.each([
    ['uint16', 'ShortStorage', 4],
    ['complex64', 'FloatStorage', 2],
    ['float32', 'ComplexFloatStorage', 1],
    ['float8_e4m3fn', 'ByteStorage', 8],
  ])('%s over a %s is turned alike', (dtype, storage, elements) => {
    expect(read(tensor({ dtype, storage, elements }), 'big')[0]).not.toHaveProperty('unsupported');
  });
});

test('a storage has no key that is longer than any of torch', () => {
  expect(read(tensor({ key: 'k'.repeat(1024) }))).toHaveLength(1);
  expect(() => read(tensor({ key: 'k'.repeat(1025) }))).toThrow(refused('a storage key of 1025 characters, at most 1024'));
});

describe('what torch sets on a tensor that it rebuilds', () => {
  const hooks: Pickled = { call: 'collections.OrderedDict', args: [] };
  const builders: readonly (readonly [string, (state: Pickled) => Pickled])[] = [
    ['a parameter', (state) => ({ call: 'torch._utils._rebuild_parameter_with_state', args: [tensor(), false, hooks, state] })],
    ...['torch._tensor._rebuild_from_type_v2', 'torch._tensor._rebuild_from_type'].map((call): [string, (state: Pickled) => Pickled] => [
      call,
      (state) => ({
        call,
        args: [
          { global: 'torch._utils._rebuild_tensor_v2' },
          { global: 'torch.nn.parameter.Parameter' },
          { tuple: (tensor() as { readonly args: readonly Pickled[] }).args },
          state,
        ],
      }),
    ]),
  ];
  const dict = (name: Pickled): Pickled => ({
    dict: [
      ['tag', 1],
      [name, tensor({ key: '1' })],
    ],
  });

  describe.each(builders)('%s', (_, build) => {
    test.each([
      ['none', null],
      ['attributes of a program', dict('partition_dim')],
      ['those and slots', { tuple: [dict('_spec'), dict('__private')] }],
      ['slots alone', { tuple: [null, dict('tag')] }],
    ] as const)('%s: nothing of the tensor', (__, state) => expect(read(build(state))[0]).toMatchObject({ storage: 0, shape: [1] }));

    test.each(['data', 'real', 'imag', 'grad', '_grad', 'requires_grad', 'T', 'mT', '__class__', '__setstate__'])(
      '`%s`: refused',
      (name) => {
        for (const state of [dict(name), { tuple: [dict(name), null] }, { tuple: [{ dict: [] }, dict(name)] }])
          expect(() => read(build(state))).toThrow(
            expect.objectContaining({
              code: 'CheckpointValidationError',
              message: expect.stringContaining(`a tensor that is built with another \`${name}\` than its own`),
            }),
          );
      },
    );

    test.each([
      ['a list', [1]],
      ['three of them', { tuple: [{ dict: [] }, { dict: [] }, { dict: [] }] }],
      ['a tensor', tensor()],
    ] as const)('%s: refused', (__, state) =>
      expect(() => read(build(state))).toThrow(refused('the attributes of a tensor are not a dict')),
    );

    test('a name that is not text: refused', () => expect(() => read(build(dict(5)))).toThrow(refused('is not text')));
  });
});

describe('what very many DTensors may share is small', () => {
  const fields = (count: number): readonly (readonly [string, Pickled])[] =>
    Array.from({ length: count }, (_, index) => [`k${index}`, null]);
  const wrapped = (more: number, placements: number, sizes: number): Pickled => ({
    call: 'torch._tensor._rebuild_from_type_v2',
    args: [
      { global: 'torch._utils._rebuild_wrapper_subclass' },
      { global: 'torch.distributed.tensor.DTensor' },
      {
        tuple: [
          { global: 'torch.distributed.tensor.DTensor' },
          { global: 'torch.float32' },
          { tuple: Array.from({ length: sizes }, () => 1) },
        ],
      },
      {
        dict: [
          ...fields(more),
          ['_local_tensor', tensor()],
          [
            '_spec',
            {
              object: 'torch.distributed.tensor._dtensor_spec.DTensorSpec',
              state: { dict: [['placements', { tuple: Array.from({ length: placements }, () => SHARD) }]] },
            },
          ],
        ],
      },
    ],
  });
  const SHARD: Pickled = { object: 'torch.distributed.tensor.placement_types.Replicate', state: { dict: [] } };

  test('and read', () => expect(read(wrapped(10, 1, 1))).toEqual([{ dtype: 'F32', shape: [1], storage: 0, offset: 0 }]));
  test('a dict of fields', () => expect(() => read(wrapped(255, 1, 1))).toThrow(refused('a DTensor with a dict of 257 entries')));
  test('placements', () => expect(() => read(wrapped(0, 65, 1))).toThrow(refused('the placements of a DTensor of 65 items')));
  test('sizes', () => expect(() => read(wrapped(0, 1, 65))).toThrow(refused('a size of 65 items')));
});
