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
const ANY = 0xffff;
/** The largest code unit that an encoding holds, by its names. */
const ENCODINGS: ReadonlyMap<string, number> = new Map([
  ...['latin1', 'latin-1', 'iso-8859-1'].map((name) => [name, 0xff] as const),
  ...['utf-8', 'utf8'].map((name) => [name, ANY] as const),
  ['ascii', 0x7f],
]);

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
 * `encode(text, encoding)` and `bytearray(text, encoding)`: how protocols below 3 write bytes. Codecs that turn bytes into others, and what
 * to do about characters that an encoding lacks, nobody writes.
 */
function encoded(table: Table, fail: Fail, args: readonly NodeId[], kind: 'bytes' | 'bytearray'): ValueNode {
  const [text, encoding, errors] = args;
  if (kind === 'bytearray' && encoding === undefined) {
    if (text === undefined) return { kind, base64: '' };
    const value = table.nodes[text];
    if (typeof value === 'object' && value !== null && value.kind === 'bytes') return { kind, base64: value.base64 };
    return fail('a bytearray of something that is not bytes');
  }
  const value = text === undefined ? undefined : table.nodes[text];
  const name = encoding === undefined ? 'utf-8' : table.nodes[encoding];
  const isStrict = errors === undefined || (table.nodes[errors] === 'strict' && args.length === 3);
  const most = typeof name === 'string' ? ENCODINGS.get(name) : undefined;
  if (typeof value !== 'string' || most === undefined || !isStrict)
    return fail('bytes from something that is not text in a known encoding');
  for (let at = 0; at < value.length; at++) if (value.charCodeAt(at) > most) return fail(`text that ${String(name)} cannot hold`);
  return { kind, base64: Buffer.from(value, most === ANY ? 'utf8' : 'latin1').toString('base64') };
}
