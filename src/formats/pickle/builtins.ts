/**
 * Calls of Python's own harmless classes, told as values: what `OrderedDict()` or `set([1])` would give.
 *
 * Invariant: a call gives a fresh node or `undefined` (it then stays an opaque object); argument kinds that the class would not
 * take are refused.
 */
import type { NodeId, ValueNode } from '../../model/value.ts';
import type { Table } from './table.ts';

const PLAIN: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['torch', new Set(['Size', 'device'])],
  ['torch.serialization', new Set(['_get_layout'])],
  ['datetime', new Set(['date', 'datetime', 'time', 'timedelta', 'timezone'])],
  ['decimal', new Set(['Decimal'])],
  ['fractions', new Set(['Fraction'])],
]);
const ENCODINGS = new Set(['latin1', 'latin-1', 'iso-8859-1', 'utf-8', 'utf8', 'ascii']);

type Fail = (message: string) => never;

/** What the call gives; `args` are its arguments. */
export function plainCall(table: Table, fail: Fail, module: string, name: string, args: readonly NodeId[]): ValueNode | undefined {
  const items = (id: NodeId | undefined): readonly NodeId[] => {
    if (id === undefined) return [];
    const node = table.nodes[id];
    if (typeof node === 'object' && node !== null && 'items' in node && node.kind !== 'object') return [...(node.items ?? [])];
    return fail(`${module}.${name} of something that is not a list`);
  };
  if (PLAIN.get(module)?.has(name) === true || module.startsWith('pathlib'))
    return {
      kind: 'plain',
      class: name === '_get_layout' ? 'torch.layout' : `${module}.${name}`,
      value: table.add({ kind: 'tuple', items: args }),
    };
  if (module === '_codecs') return encoded(table, fail, args, 'bytes');
  if (module === 'collections') {
    if (name === 'deque') return undefined;
    const dict = name as 'OrderedDict' | 'defaultdict' | 'Counter';
    const given = args[name === 'defaultdict' ? 1 : 0];
    const node = given === undefined ? undefined : table.nodes[given];
    if (typeof node === 'object' && node !== null && node.kind === 'dict') return { kind: 'dict', class: dict, entries: [...node.entries] };
    // Of anything else it counts the items, pairs too.
    if (name === 'Counter' && node !== undefined && node !== null) return undefined;
    const entries = items(given).map((pair) => {
      const [key, value, more] = items(pair);
      if (key === undefined || value === undefined || more !== undefined) return fail(`${module}.${name} of something that is not a pair`);
      return [key, value] as const;
    });
    return { kind: 'dict', class: dict, entries };
  }
  if (module !== 'builtins' && module !== '__builtin__') return undefined;
  switch (name) {
    case 'set':
    case 'frozenset':
    case 'list':
    case 'tuple':
      return { kind: name, items: items(args[0]) };
    case 'dict':
      return args.length === 0 ? { kind: 'dict', entries: [] } : undefined;
    case 'bytearray':
      return encoded(table, fail, args, 'bytearray');
    case 'bytes':
      return args.length === 0 ? { kind: 'bytes', base64: '' } : undefined;
    case 'complex':
      return args.length === 2 ? { kind: 'complex', real: args[0] ?? 0, imag: args[1] ?? 0 } : undefined;
    default:
      return undefined;
  }
}

/**
 * `encode(text, encoding)`, which is how protocols below 3 write bytes, and `bytearray(text, encoding)` or `bytearray(bytes)`. Codecs of Python that
 * turn bytes into others (`hex`, `zlib`), and ways round what an encoding cannot hold, are no ones a program writes.
 */
function encoded(table: Table, fail: Fail, args: readonly NodeId[], kind: 'bytes' | 'bytearray'): ValueNode {
  const [text, encoding] = args;
  if (text === undefined && kind === 'bytearray') return { kind, base64: '' };
  const value = text === undefined ? undefined : table.nodes[text];
  if (kind === 'bytearray' && args.length === 1 && typeof value === 'object' && value?.kind === 'bytes')
    return { kind, base64: value.base64 };
  const name = encoding === undefined ? (kind === 'bytes' ? 'utf-8' : undefined) : table.nodes[encoding];
  if (typeof value !== 'string' || typeof name !== 'string' || !ENCODINGS.has(name) || args.length > 2)
    return fail('bytes from something that is not text in a known encoding');
  const latin = !name.startsWith('utf');
  const most = name === 'ascii' ? 0x7f : 0xff;
  if (latin && [...value].some((character) => character.codePointAt(0)! > most)) return fail(`text that ${name} cannot hold`);
  return { kind, base64: Buffer.from(value, latin ? 'latin1' : 'utf8').toString('base64') };
}
