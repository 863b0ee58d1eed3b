/** The pickle machine on single opcodes and known misreadings. */
import { describe, expect, test } from '@jest/globals';
import { judge } from '../../../src/formats/pickle/globals.ts';
import { readPickle } from '../../../src/formats/pickle/read.ts';
import type { GlobalUse, ValueNode } from '../../../src/model/value.ts';

function read(text: string): { root: ValueNode | undefined; nodes: ValueNode[] } {
  const nodes: ValueNode[] = [];
  const globals: GlobalUse[] = [];
  const { root } = readPickle(new Uint8Array(Buffer.from(text, 'latin1')), { member: 'p', uri: 'file:///p', host: { nodes, globals } });
  return { root: nodes[root], nodes };
}

describe('values', () => {
  const cases: readonly (readonly [string, string, ValueNode])[] = [
    [
      'LONG1 of ten bytes',
      '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.',
      { kind: 'int', decimal: '119547037146038801333356' },
    ],
    ['LONG1 −1', '\x8a\x01\xff.', -1],
    ['LONG4 −1', '\x8b\x01\x00\x00\x00\xff.', -1],
    ['INT 2^63 − 1', 'I9223372036854775807\n.', { kind: 'int', decimal: '9223372036854775807' }],
    ['a byte order mark is kept', 'X\x04\x00\x00\x00\xef\xbb\xbfx.', '\ufeffx'],
    ['FLOAT inf', 'F-inf\n.', { kind: 'float', value: '-inf' }],
    ['BINFLOAT −0', 'G\x80\x00\x00\x00\x00\x00\x00\x00.', { kind: 'float', value: '-0' }],
  ];
  test.each(cases)('%s', (_, bytes, value) => expect(read(bytes).root).toEqual(value));

  test('1, 1.0 and True are one key, __proto__ is an ordinary one', () => {
    expect(read('}(K\x01NG\x3f\xf0\x00\x00\x00\x00\x00\x00N\x88\x89u.').root).toMatchObject({
      kind: 'dict',
      entries: [[1, expect.any(Number)]],
    });
    expect(read("}S'__proto__'\nK\x01s.").nodes).toEqual([{ kind: 'dict', entries: [[1, 2]] }, '__proto__', 1]);
  });
});

describe('refused', () => {
  test.each([
    ['stack underflow', '.'],
    ['memo entry missing', 'h\x05.'],
    ['odd SETITEMS', '}(K\x01u.'],
    ['APPEND on a dict', '}K\x01a.'],
    ['unhashable key', '}]K\x01s.'],
    ['negative BINSTRING', 'T\xff\xff\xff\xff.'],
    ['lone surrogate', 'X\x03\x00\x00\x00\xed\xa0\x80.'],
    ['protocol 9', '\x80\x09N.'],
    ['left over', 'NN.'],
    ['number with letters', 'I12abc\n.'],
    ['frame past the end', '\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.'],
  ])('%s', (_, bytes) => expect(() => read(bytes)).toThrow(expect.objectContaining({ code: 'CheckpointLoadError' })));

  test('all dangerous names, even where the stream breaks', () => {
    expect(() => read('cos\nsystem\ncbuiltins\neval\n\xff')).toThrow(/os\.system, builtins\.eval/);
  });
});

test('names are judged as pairs', () => {
  expect([
    judge('collections', 'OrderedDict'),
    judge('collections', 'abc.sys'),
    judge('os.path', 'join'),
    judge('fixture_models', 'Grid'),
    judge('builtins', 'getattr'),
    judge('torch.utils.data.x', 'y'),
  ]).toEqual(['safe', 'dangerous', 'dangerous', 'unknown', 'dangerous', 'dangerous']);
});
