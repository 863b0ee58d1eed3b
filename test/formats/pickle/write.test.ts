/** What is written comes back the same, and what cannot be written is said. Whether torch takes it is shown in test/oracle. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeLong, encodeLong } from '../../../src/formats/pickle/integers.ts';
import { readPickle } from '../../../src/formats/pickle/read.ts';
import { writePickle, type WrittenPickle } from '../../../src/formats/pickle/write.ts';
import type { GlobalUse, NodeId, ValueNode, ValueTree } from '../../../src/model/value.ts';

const noTensors = { tensor: () => 'none here' };

function write(nodes: readonly ValueNode[], root: NodeId = nodes.length - 1): WrittenPickle {
  return writePickle({ root, nodes }, noTensors);
}

function readBack(bytes: Uint8Array): ValueTree & { readonly globals: readonly GlobalUse[] } {
  const nodes: ValueNode[] = [];
  const globals: GlobalUse[] = [];
  const { root, consumed } = readPickle(bytes, { member: 'p', uri: 'file:///p', host: { nodes, globals } });
  expect(consumed).toBe(bytes.length);
  return { root, nodes, globals };
}

/** A tree as nested plain data, with every kind named; for trees without cycles. */
function unfold({ nodes }: Pick<ValueTree, 'nodes'>, id: NodeId): unknown {
  const node = nodes[id]!;
  if (typeof node !== 'object' || node === null) return node;
  const of = (child: NodeId): unknown => unfold({ nodes }, child);
  switch (node.kind) {
    case 'list':
    case 'tuple':
    case 'set':
    case 'frozenset':
      return [node.kind, ...node.items.map(of)];
    case 'dict':
      return [
        node.class ?? 'dict',
        ...node.entries.map(([key, value]) => [of(key), of(value)]),
        ...(node.attributes === undefined ? [] : [of(node.attributes)]),
      ];
    case 'plain':
      return [node.class, of(node.value)];
    case 'complex':
      return ['complex', of(node.real), of(node.imag)];
    default:
      return node;
  }
}

describe('comes back as it was', () => {
  test.each<readonly [string, readonly ValueNode[]]>([
    ['None', [null]],
    ['True', [true]],
    ['False', [false]],
    ...[0, 1, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 53 - 1, -1, -128, -129, -(2 ** 31), -(2 ** 31) - 1].map(
      (value) => [`int ${value}`, [value]] as const,
    ),
    ['a large int', [{ kind: 'int', decimal: '-123456789012345678901234567890' }]],
    ...([1.5, 'nan', 'inf', '-inf', '-0', 5e-324] as const).map(
      (value) => [`float ${value}`, [{ kind: 'float', value } as ValueNode]] as const,
    ),
    ['text beyond ASCII', ['🜂 é\u0000\ufeff']],
    ['bytes', [{ kind: 'bytes', base64: Buffer.from([0, 127, 128, 255]).toString('base64') }]],
    ['no bytes', [{ kind: 'bytes', base64: '' }]],
    ['bytearray', [{ kind: 'bytearray', base64: Buffer.from([255, 0]).toString('base64') }]],
    [
      'complex',
      [
        { kind: 'float', value: '-0' },
        { kind: 'float', value: 2 },
        { kind: 'complex', real: 0, imag: 1 },
      ],
    ],
    [
      'tuples of 0 to 4',
      [
        1,
        ...[0, 1, 2, 3, 4].map((n) => ({ kind: 'tuple', items: Array<number>(n).fill(0) }) as const),
        { kind: 'list', items: [1, 2, 3, 4, 5] },
      ],
    ],
    ['set', [1, 'a', { kind: 'set', items: [0, 1] }]],
    ['Counter', ['a', 3, { kind: 'dict', class: 'Counter', entries: [[0, 1]] }]],
    [
      'OrderedDict with attributes',
      [
        '',
        'version',
        1,
        { kind: 'dict', entries: [[1, 2]] },
        { kind: 'dict', class: 'OrderedDict', entries: [[0, 3]] },
        '_metadata',
        { kind: 'dict', entries: [[5, 4]] },
        { kind: 'dict', class: 'OrderedDict', entries: [[1, 2]], attributes: 6 },
      ],
    ],
    ['dtype', ['float8_e4m3fn', { kind: 'plain', class: 'torch.dtype', value: 0 }]],
    ['device', ['cuda', 1, { kind: 'tuple', items: [0, 1] }, { kind: 'plain', class: 'torch.device', value: 2 }]],
    ['Size', [2, { kind: 'tuple', items: [0, 0] }, { kind: 'tuple', items: [1] }, { kind: 'plain', class: 'torch.Size', value: 2 }]],
  ])('%s', (_, nodes) => {
    const written = write(nodes);
    expect(written.dropped).toEqual([]);
    const read = readBack(written.bytes);
    expect(unfold(read, read.root)).toEqual(unfold({ nodes }, nodes.length - 1));
    expect(read.globals.filter(({ verdict }) => verdict !== 'safe')).toEqual([]);
  });

  test('any list, dict and tuple of atoms', () => {
    const atom = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.string({ unit: 'binary' }),
      fc.double().map((value) => value),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom('list', 'tuple', 'dict'), fc.array(atom, { maxLength: 5 }))), (groups) => {
        const nodes: ValueNode[] = [];
        const add = (node: ValueNode): NodeId => nodes.push(node) - 1;
        const ids = groups.map(([kind, values]) => {
          const items = values.map((value) =>
            add(typeof value === 'number' && !Number.isSafeInteger(value) ? floatNode(value) : Object.is(value, -0) ? 0 : value),
          );
          if (kind === 'dict') return add({ kind: 'dict', entries: items.map((item, index) => [add(`k${index}`), item]) });
          return add({ kind: kind as 'list' | 'tuple', items });
        });
        const root = add({ kind: 'list', items: ids });
        const read = readBack(write(nodes, root).bytes);
        expect(unfold(read, read.root)).toEqual(unfold({ nodes }, root));
      }),
    );
  });

  test('integers of any size as LONG1 holds them', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 2039n), max: 2n ** 2039n - 1n }), (value) => {
        expect(String(decodeLong(encodeLong(value)))).toBe(value.toString());
        expect(encodeLong(value).length).toBeLessThanOrEqual(255);
      }),
    );
    expect([encodeLong(127n), encodeLong(128n), encodeLong(-128n), encodeLong(-129n)].map(({ length }) => length)).toEqual([1, 2, 1, 2]);
  });

  test('a shared list stays one, a list may hold itself', () => {
    const shared = readBack(write(['x', { kind: 'list', items: [0] }, { kind: 'tuple', items: [1, 1] }]).bytes);
    const pair = shared.nodes[shared.root] as { items: readonly NodeId[] };
    expect(pair.items[0]).toBe(pair.items[1]);
    const own = readBack(write([{ kind: 'list', items: [0] }]).bytes);
    expect(own.nodes[own.root]).toEqual({ kind: 'list', items: [own.root] });
  });

  test('ten thousand levels cost no stack', () => {
    const nodes: ValueNode[] = [{ kind: 'list', items: [] }];
    for (let level = 0; level < 10_000; level++) nodes.push({ kind: 'list', items: [level] });
    const { bytes } = write(nodes);
    expect(Buffer.from(bytes.subarray(0, 5)).toString('hex')).toBe('80025d285d');
    expect(bytes.length).toBe(3 + 10_001 + 2 * 10_000);
  });
});

describe('left out or replaced, and said', () => {
  const dict = (...values: readonly (readonly [string, ValueNode[]])[]): ValueNode[] => {
    const nodes: ValueNode[] = [];
    const entries = values.map(([key, made]) => {
      const shift = nodes.length;
      for (const node of made) nodes.push(shifted(node, shift));
      return [nodes.push(key) - 1, shift + made.length - 1] as const;
    });
    nodes.push({ kind: 'dict', entries });
    return nodes;
  };

  test('each with its path', () => {
    const nodes = dict(
      ['keep', [1]],
      ['function', [{ kind: 'global', module: 'torch.nn', name: 'ReLU' }]],
      ['object', [{ kind: 'object', module: 'mine', name: 'Thing' }]],
      ['list', [{ kind: 'global', module: 'm', name: 'f' }, 7, { kind: 'list', items: [1, 0] }]],
      ['frozen', [1, { kind: 'frozenset', items: [0] }]],
      ['path', ['/', 'a', 'b', { kind: 'tuple', items: [0, 1, 2] }, { kind: 'plain', class: 'pathlib.PosixPath', value: 3 }]],
      ['date', ['x', { kind: 'tuple', items: [0] }, { kind: 'plain', class: 'datetime.date', value: 1 }]],
      ['namespace', ['lr', 3, { kind: 'dict', entries: [[0, 1]] }, { kind: 'object', module: 'argparse', name: 'Namespace', state: 2 }]],
      ['default', ['a', 1, { kind: 'dict', class: 'defaultdict', entries: [[0, 1]] }]],
      ['huge', [{ kind: 'int', decimal: (2n ** 2040n).toString() }]],
      ['tensor', [{ kind: 'tensor', tensor: 0 }]],
    );
    const { bytes, dropped } = write(nodes);
    expect(dropped.map(({ what, reason }) => `${what}: ${reason}`)).toEqual([
      'function: the class or function torch.nn.ReLU',
      'object: an object of mine.Thing',
      'list[1]: the class or function m.f',
      'frozen: replaced by a tuple: a frozenset',
      'path: replaced by text: a pathlib.PosixPath',
      'date: a datetime.date',
      'namespace: replaced by a dict: an object of argparse.Namespace',
      'default: replaced by a dict: a defaultdict',
      'huge: an integer of more than 255 bytes',
      'tensor: a tensor without a plain form: none here',
    ]);
    const read = readBack(bytes);
    expect(unfold(read, read.root)).toEqual([
      'dict',
      ['keep', 1],
      ['list', ['list', 7, null]],
      ['frozen', ['tuple', 1]],
      ['path', '/a/b'],
      ['namespace', ['dict', ['lr', 3]]],
      ['default', ['dict', ['a', 1]]],
    ]);
  });

  test('a tuple that contains itself by way of a list', () => {
    const { bytes, dropped } = write([
      { kind: 'list', items: [1] },
      { kind: 'tuple', items: [0] },
    ]);
    expect(dropped).toEqual([{ what: '[0][0]', reason: 'it contains itself by way of a tuple' }]);
    const read = readBack(bytes);
    expect(unfold(read, read.root)).toEqual(['tuple', ['list', null]]);
  });

  test('a key without a plain form takes its value along', () => {
    const nodes: ValueNode[] = [
      { kind: 'global', module: 'm', name: 'f' },
      { kind: 'tuple', items: [0] },
      1,
      { kind: 'dict', entries: [[1, 2]] },
    ];
    expect(write(nodes).dropped).toEqual([{ what: '<tuple>', reason: 'a key without a plain form' }]);
    const byClass: ValueNode[] = [...nodes, { kind: 'dict', entries: [[0, 2]] }];
    expect(write(byClass).dropped).toEqual([{ what: '<m.f>', reason: 'a key without a plain form' }]);
  });
});

describe('is refused', () => {
  const written = (shape: readonly number[]): WrittenPickle =>
    writePickle(
      { root: 2, nodes: ['w', { kind: 'tensor', tensor: 0 }, { kind: 'dict', entries: [[0, 1]] }] },
      {
        tensor: () => ({
          key: '0',
          storageClass: 'FloatStorage',
          numel: 1,
          dtype: 'float32',
          offset: 0,
          shape,
          stride: shape,
          requiresGrad: false,
          parameter: false,
        }),
      },
    );

  test('a text with a lone surrogate, as two of them would be one', () => {
    const nodes: readonly ValueNode[] = ['\ud800', '\ud801', 1, { kind: 'dict', entries: [[0, 2], [1, 2]] }]; // prettier-ignore
    const refused = { code: 'CheckpointIncompatibleError', message: expect.stringContaining('"\\ud800" holds a lone surrogate') };
    expect(() => write(nodes)).toThrow(expect.objectContaining(refused));
    const read = readBack(write(['\u{1f600}']).bytes);
    expect(read.nodes[read.root]).toBe('\u{1f600}');
  });

  test('a tensor of more dimensions than torch has', () => {
    expect(written(Array.from({ length: 64 }, () => 1)).dropped).toEqual([]);
    const refused = { code: 'CheckpointIncompatibleError', message: expect.stringContaining('w has 65 dimensions; torch allows 64') };
    expect(() => written(Array.from({ length: 65 }, () => 1))).toThrow(expect.objectContaining(refused));
  });
});

function floatNode(value: number): ValueNode {
  if (Number.isNaN(value)) return { kind: 'float', value: 'nan' };
  if (!Number.isFinite(value)) return { kind: 'float', value: value > 0 ? 'inf' : '-inf' };
  return { kind: 'float', value };
}

function shifted(node: ValueNode, by: number): ValueNode {
  if (typeof node !== 'object' || node === null) return node;
  if ('items' in node) return { ...node, items: node.items!.map((id) => id + by) } as ValueNode;
  if (node.kind === 'dict') return { ...node, entries: node.entries.map(([key, value]) => [key + by, value + by] as const) };
  if (node.kind === 'plain') return { ...node, value: node.value + by };
  return node.kind === 'object' && node.state !== undefined ? { ...node, state: node.state + by } : node;
}

test('what a configuration of OmegaConf has not resolved stays text, and is named', () => {
  const node = (value: string): ValueNode[] => [value, '_val'];
  const nodes: ValueNode[] = [...node('${n}'), ...node('???'), ...node('plain')];
  const wrapped = [0, 2, 4].map((value) => {
    nodes.push({ kind: 'dict', entries: [[1, value]] });
    return nodes.push({ kind: 'object', module: 'omegaconf.nodes', name: 'AnyNode', state: nodes.length - 1 }) - 1;
  });
  const keys = ['a', 'b', 'c', '_content'].map((key) => nodes.push(key) - 1);
  nodes.push({ kind: 'dict', entries: wrapped.map((value, at) => [keys[at]!, value] as const) });
  nodes.push({ kind: 'dict', entries: [[keys[3]!, nodes.length - 1]] });
  nodes.push({ kind: 'object', module: 'omegaconf.dictconfig', name: 'DictConfig', state: nodes.length - 1 });
  const { bytes, dropped } = write(nodes);
  expect(unfold(readBack(bytes), readBack(bytes).root)).toEqual(['dict', ['a', '${n}'], ['b', '???'], ['c', 'plain']]);
  const why = 'kept as its text: interpolations of OmegaConf are not resolved';
  expect(dropped.filter(({ reason }) => reason.startsWith('kept'))).toEqual([
    { what: 'a', reason: why },
    { what: 'b', reason: 'kept as its text: a missing value of OmegaConf' },
  ]);
});
