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
    ['UNICODE with escapes', 'V\\u2603\\\\u2603\\\\\\u2603\\U0001f600\\n\xe9\n.', '\u2603\\\\u2603\\\\\u2603\u{1f600}\\n\xe9'],
    ['STRING with escapes', "S'a\\n\\x41\\101\\'\\q\\\\\\xc3\\xa9'\n.", "a\nAA'\\q\\\xe9"],
    ['STRING with a quote inside', "S'a'b'\n.", "a'b"],
    ['FLOAT inf', 'F-inf\n.', { kind: 'float', value: '-inf' }],
    ['BINFLOAT −0', 'G\x80\x00\x00\x00\x00\x00\x00\x00.', { kind: 'float', value: '-0' }],
  ];
  test.each(cases)('%s', (_, bytes, value) => expect(read(bytes).root).toEqual(value));

  const [encode, bytearray] = ['c_codecs\nencode\n', 'c__builtin__\nbytearray\n'];
  const e = 'X\x02\x00\x00\x00\xc3\xa9';
  const name = (text: string): string => `U${String.fromCharCode(text.length)}${text}`;

  test.each([
    ['latin1', `${encode}(${e}${name('latin1')}tR.`, 'bytes', '\xe9'],
    ['no encoding', `${encode}(${e}tR.`, 'bytes', '\xc3\xa9'],
    ['ascii', `${encode}(${name('ab')}${name('ascii')}tR.`, 'bytes', 'ab'],
    ['strict', `${encode}(${e}${name('utf-8')}${name('strict')}tR.`, 'bytes', '\xc3\xa9'],
    ['a bytearray of text', `${bytearray}(${e}${name('latin-1')}tR.`, 'bytearray', '\xe9'],
    ['a bytearray of bytes', `${bytearray}(C\x01\xe9tR.`, 'bytearray', '\xe9'],
    ['an empty bytearray', `${bytearray})R.`, 'bytearray', ''],
  ])('bytes of text: %s', (_, bytes, kind, content) => {
    expect(read(bytes).root).toEqual({ kind, base64: Buffer.from(content, 'latin1').toString('base64') });
  });

  test.each([
    ['a character that ascii lacks', `${encode}(${e}${name('ascii')}tR.`, 'text that ascii cannot hold'],
    ['an error handler', `${encode}(${e}${name('ascii')}${name('ignore')}tR.`, 'not text in a known encoding'],
    ['four arguments', `${encode}(${e}${name('utf8')}${name('strict')}NtR.`, 'not text in a known encoding'],
    ['a codec of bytes', `${encode}(C\x01\xe9${name('hex')}tR.`, 'not text in a known encoding'],
    ['bytes in an encoding of text', `${encode}(C\x01\xe9${name('latin1')}tR.`, 'not text in a known encoding'],
    ['nothing', `${encode})R.`, 'not text in a known encoding'],
    ['a bytearray of text without encoding', `${bytearray}(${e}tR.`, 'a bytearray of something that is not bytes'],
  ])('bytes that Python would make otherwise, or not at all: %s', (_, bytes, message) => {
    expect(() => read(bytes)).toThrow(message);
  });

  test('a lone surrogate is kept as the bytes Python wrote, by any opcode', () => {
    for (const bytes of ['X\x05\x00\x00\x00a\xed\xa0\x80b.', '\x8c\x05a\xed\xa0\x80b.', 'Va\\ud800b\n.']) {
      const { root, nodes } = read(bytes);
      expect(root).toMatchObject({ kind: 'plain', class: 'str' });
      expect(nodes[0]).toEqual({ kind: 'bytes', base64: Buffer.from('a\xed\xa0\x80b', 'latin1').toString('base64') });
    }
  });

  test.each([
    ['tuples', 'K\x01K\x02\x86', 'K\x01G\x40\x00\x00\x00\x00\x00\x00\x00\x86', 1],
    ['tuples of tuples', 'K\x01\x85\x85', 'K\x01\x85\x85', 1],
    ['tuples nested otherwise', 'K\x01\x85K\x02\x86', 'K\x01K\x02\x85\x86', 2],
    ['texts that would run together', 'U\x01aU\x02bc\x86', 'U\x02abU\x01c\x86', 2],
    ['frozensets in another order', '(K\x01K\x02\x91', '(K\x02K\x01\x91', 1],
    ['bytes', 'C\x01a', 'C\x01a', 1],
    ['bytes and text', 'C\x01a', 'U\x01a', 2],
    ['2^60 as int and float', '\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10', 'G\x43\xb0\x00\x00\x00\x00\x00\x00', 1],
    ['classes', 'ca\nB\n', 'ca\nB\n', 1],
    ['objects of one class', 'ca\nB\n)R', 'ca\nB\n)R', 2],
  ])('keys are compared as Python does: %s', (_, first, second, count) => {
    const { root } = read(`}(${first}N${second}Nu.`);
    expect(root).toMatchObject({ kind: 'dict', entries: Array.from({ length: count }, () => expect.anything()) });
  });

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
    ['half a surrogate', 'X\x02\x00\x00\x00\xed\xa0.'],
    ['a character split by a surrogate', 'X\x06\x00\x00\x00\xe2\xed\xa0\x80\x82\xac.'],
    ['\\u with three digits', 'V\\u260\n.'],
    ['\\U above 10ffff', 'V\\U00110000\n.'],
    ['\\x with one digit', "S'\\x4'\n."],
    ['a backslash before the closing quote', "S'a\\'\n."],
    ['one quote', "S'\n."],
    ['escaped bytes that are not UTF-8', "S'\\xe9'\n."],
    ['a list inside a tuple as key', '}]\x85Ns.'],
    ['a tuple in itself as key', '}]q\x00h\x00\x85ah\x00\x85Ns.'],
    ['a new object of a function', 'ctorch._utils\n_rebuild_tensor_v2\n)\x81.'],
    ['protocol 9', '\x80\x09N.'],
    ['left over', 'NN.'],
    ['number with letters', 'I12abc\n.'],
    ['frame past the end', '\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.'],
  ])('%s', (_, bytes) => expect(() => read(bytes)).toThrow(expect.objectContaining({ code: 'CheckpointLoadError' })));

  const unfinished: readonly (readonly [string, string])[] = [
    ['torch.Tensor by NEWOBJ', 'ctorch\nTensor\n)\x81.'],
    ['torch.Tensor in a list', '](ctorch\nTensor\n)\x81Ne.'],
    ['a storage', 'ctorch.storage\nUntypedStorage\n)\x81.'],
    ['a numpy array by REDUCE', 'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR.'],
    ['one of two', 'ctorch\nTensor\n)\x81}bctorch\nTensor\n)\x81\x86.'],
  ];
  test.each(unfinished)('G5: an unfinished object: %s', (_, bytes) => {
    expect(() => read(bytes)).toThrow(
      expect.objectContaining({ code: 'CheckpointValidationError', message: expect.stringMatching(/never gets its state/) }),
    );
  });

  test('names behind the break are reported, however they are written', () => {
    const names = (bytes: string): readonly string[] => {
      try {
        read(bytes);
      } catch (error) {
        const found = (error as { details: { globals?: readonly GlobalUse[] } }).details.globals ?? [];
        return found.map(({ module, name }) => `${module}.${name}`);
      }
      return ['read'];
    };
    expect(names('\xff\x00cos\nsystem\n.')).toEqual(['os.system']);
    expect(names('h\x09zzcccos\nsystem\n')).toEqual(['os.system']);
    expect(names('N0(ios\npopen\n')).toEqual(['os.popen']);
    expect(names('\xff\x8c\x02os\x94\x8c\x06system\x94\x93\x94.')).toEqual(['os.system']);
    expect(names('\xffX\x02\x00\x00\x00osq\x00\x8c\x06systemr\x01\x00\x00\x00\x93')).toEqual(['os.system']);
    expect(names('cbuiltins\neval\n\xff.cos\nsystem\n')).toEqual(['builtins.eval', 'os.system']);
    expect(names('\xffccollections\nOrderedDict\n')).toEqual([]);
  });

  test('all dangerous names, even where the stream breaks', () => {
    expect(() => read('cos\nsystem\ncbuiltins\neval\n\xff')).toThrow(/os\.system, builtins\.eval/);
  });
});

test('a key of 100 000 nested tuples costs no stack', () => {
  expect(() => read(`})${'\x85'.repeat(100_000)}Ns.`)).toThrow(/nested deeper than 1000/);
});

test('numpy is judged by name in whichever of its modules, its scalar types are harmless', () => {
  for (const module of ['numpy', 'numpy.core.multiarray', 'numpy._core.records'])
    for (const name of ['load', 'fromfile', 'memmap', '__builtins__', 'frompyfunc']) expect(judge(module, name)).toBe('dangerous');
  expect([judge('numpy', 'float32'), judge('numpy', 'mean'), judge('numpy.random._pickle', 'Thing')]).toEqual([
    'safe',
    'unknown',
    'unknown',
  ]);
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

describe('what is made for a tensor alone goes again', () => {
  const BUILDER = 'ctorch._utils\n_rebuild_tensor_v2\n';
  /** A state dict's value: the arguments as torch writes them, all of them stored to the memo. */
  const tensor = (args: string): string => `(${args}tq\x09R`;
  function withTensors(text: string): { root: ValueNode | undefined; nodes: ValueNode[]; args: (readonly ValueNode[])[] } {
    const nodes: ValueNode[] = [];
    const args: ValueNode[][] = [];
    const call = (_module: string, name: string, items: readonly number[]): ValueNode | undefined => {
      if (name !== '_rebuild_tensor_v2') return undefined;
      return { kind: 'tensor', tensor: args.push(items.map((item) => nodes[item]!)) - 1 };
    };
    const { root } = readPickle(new Uint8Array(Buffer.from(text, 'latin1')), {
      member: 'p',
      uri: 'file:///p',
      host: { nodes, globals: [], call },
    });
    return { root: nodes[root], nodes, args };
  }

  test('its arguments are there when it is built, and not in the table', () => {
    // Sizes below 1024 are one node each, which stay.
    const one = tensor('J\x00\x08\x00\x00\x85q\x05U\x01aq\x06');
    const { root, nodes, args } = withTensors(`}(U\x01x${BUILDER}q\x00${one}U\x01yh\x00${one}u.`);
    expect(args).toEqual([
      [{ kind: 'tuple', items: [expect.any(Number)] }, 'a'],
      [{ kind: 'tuple', items: [expect.any(Number)] }, 'a'],
    ]);
    expect(root).toEqual({
      kind: 'dict',
      entries: [
        [1, 3],
        [4, 5],
      ],
    });
    expect(nodes.slice(3)).toEqual([{ kind: 'tensor', tensor: 0 }, 'y', { kind: 'tensor', tensor: 1 }]);
  });

  test.each([
    ['fetched from the memo', `](${BUILDER}${tensor('U\x01aq\x05')}h\x05e.`],
    ['fetched from the memo by the long opcode', `](${BUILDER}${tensor('U\x01ar\x05\x00\x00\x00')}j\x05\x00\x00\x00e.`],
    ['fetched by text', `](${BUILDER}${tensor('U\x01ap5\n')}g5\ne.`],
    ['stored by its place', `](${BUILDER}(U\x01a\x94tRh\x00e.`],
  ])('but for a value that is %s', (_, text) => {
    const { root, nodes, args } = withTensors(text);
    expect(args).toEqual([['a']]);
    const { items } = root as { items: readonly number[] };
    expect(items.map((item) => nodes[item])).toEqual([{ kind: 'tensor', tensor: 0 }, 'a']);
  });

  test('but for what was put into an older value meanwhile', () => {
    const { root, nodes } = withTensors(`]q\x00(${BUILDER}${tensor('h\x00U\x01ba0U\x01a')}e.`);
    const { items } = root as { items: readonly number[] };
    expect(items.map((item) => nodes[item])).toEqual(['b', { kind: 'tensor', tensor: 0 }]);
  });

  test('but for an object, a name and a number that are met again', () => {
    const { root, nodes } = withTensors(`](${BUILDER}${tensor('ca\nB\n)RK\x07N\x88')}K\x07N\x88ca\nB\n)Re.`);
    const { items } = root as { items: readonly number[] };
    expect(items.map((item) => nodes[item])).toEqual([
      { kind: 'tensor', tensor: 0 },
      7,
      null,
      true,
      { kind: 'object', module: 'a', name: 'B', args: expect.any(Number) },
    ]);
  });

  test('a pickle that breaks before its end counts every entry as fetched', () => {
    expect(() => withTensors(`](${BUILDER}${tensor('U\x01aq\x05')}h\x05e`)).toThrow(/malformed/);
    expect(() => withTensors('U\x01aq\x05h\x06.')).toThrow('memo entry 6 was never stored');
  });
});
