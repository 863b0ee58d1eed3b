/**
 * JSON text for values that are mostly long lists of alike objects, as headers and plans are: such a list is written as columns, so that
 * names of fields stand there once and what all rows share does, too. A third of the text, and of the time to write and to read it.
 *
 * Invariant: reading gives what `JSON.parse(JSON.stringify(value))` would, with keys in their order; one value has one text, so that
 * texts can be known by their digest. Rows that are equal in all fields may come back as one object: what is read is not to be changed.
 *
 * A value is written as itself where it is a primitive, else as a tagged list:
 *
 *     ["v", value]                       as it is
 *     ["o", [key …], [value …]]          an object
 *     ["a", [value …]]                   a short list
 *     ["l", count, column]               a long one
 *
 * and a column of `count` values as
 *
 *     ["=", primitive]                   the same in all rows
 *     ["v", [value …]]                   as they are
 *     ["a", [value …]]                   each written as above
 *     ["r", [key …], [column …]]         objects of the same keys
 *     ["t", [column …]]                  lists of the same length
 *     ["m", places, [[count, column] …]] of several such kinds; `places` has a letter for each row
 */

/** Lists from this length on become columns. */
const LONG = 32;
/** Lists up to this length are told apart by it. */
const TUPLE = 8;
/** Kinds of values in a list: a list of more is left as it is. */
const KINDS = 26;
/** Deeper values are left as they are: what a file says may nest as it likes. */
const DEEPEST = 16;
const FIRST_LETTER = 97;

/** Lists within this depth are those that headers and plans of a run share: their texts are kept as long as they are. */
const SHARED = 2;

type Row = { readonly [key: string]: unknown };

const texts = new WeakMap<readonly unknown[], string>();

export function columnarJson(value: unknown): string {
  return written(value, 0);
}

function written(value: unknown, depth: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (depth > DEEPEST) return plain(value);
  if (!Array.isArray(value)) return writtenObject(value as Row, depth);
  if (value.length < LONG) return value.every(isPrimitive) ? plain(value) : `["a",${each(value, depth)}]`;
  if (depth > SHARED) return writtenList(value, depth);
  let text = texts.get(value);
  if (text === undefined) texts.set(value, (text = writtenList(value, SHARED)));
  return text;
}

function writtenList(value: readonly unknown[], depth: number): string {
  return `["l",${value.length},${column(value, depth + 1)}]`;
}

function writtenObject(value: Row, depth: number): string {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  if (entries.every(([, field]) => isPrimitive(field))) return plain(value);
  return `["o",${JSON.stringify(entries.map(([key]) => key))},[${entries.map(([, field]) => written(field, depth + 1)).join(',')}]]`;
}

function plain(value: unknown): string {
  return `["v",${JSON.stringify(value)}]`;
}

function each(values: readonly unknown[], depth: number): string {
  return `[${values.map((value) => written(value, depth + 1)).join(',')}]`;
}

function isPrimitive(value: unknown): boolean {
  return typeof value !== 'object' || value === null;
}

function column(values: readonly unknown[], depth: number): string {
  if (depth > DEEPEST) return plain(values);
  return columnOfOneKind(values, depth) ?? columnOfKinds(values, depth);
}

/** Null where the values are not all primitives, lists of one length, or objects of the same keys. */
function columnOfOneKind(values: readonly unknown[], depth: number): string | null {
  const [first] = values;
  if (isPrimitive(first)) return columnOfPrimitives(values);
  if (Array.isArray(first)) return columnOfLists(values, first.length, depth);
  // Not primitive, no list.
  return columnOfRows(values, Object.keys(first as Row), depth);
}

function columnOfPrimitives(values: readonly unknown[]): string | null {
  const [first] = values;
  let isSame = first !== undefined;
  for (const value of values) {
    if (typeof value === 'object' && value !== null) return null;
    isSame &&= value === first;
  }
  return isSame ? `["=",${JSON.stringify(first)}]` : plain(values);
}

function columnOfLists(values: readonly unknown[], length: number, depth: number): string | null {
  if (!values.every((value) => Array.isArray(value) && (value.length === length || Math.min(value.length, length) > TUPLE))) return null;
  const lists = values as readonly (readonly unknown[])[];
  if (length > TUPLE || values.length < LONG) return `["a",${each(values, depth)}]`;
  const columns = Array.from({ length }, (_, place) => lists.map((list) => list[place]));
  return `["t",[${columns.map((place) => column(place, depth + 1)).join(',')}]]`;
}

function columnOfRows(values: readonly unknown[], keys: readonly string[], depth: number): string | null {
  const fields = keys.map((): unknown[] => []);
  let isWhole = true;
  for (const row of values) {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) return null;
    let at = 0;
    // In this form an engine reads fields by their places, as it cannot where only the key is known.
    for (const key in row) {
      if (key !== keys[at]) return null;
      const value = (row as Row)[key];
      isWhole &&= value !== undefined;
      fields[at++]!.push(value);
    }
    if (at !== keys.length) return null;
  }
  if (values.length < LONG) return `["a",${each(values, depth)}]`;
  // A field that is not there is none in JSON; and one of that name is no plain field where it is read.
  if (!isWhole || keys.includes('__proto__')) return plain(values);
  return `["r",${JSON.stringify(keys)},[${fields.map((field) => column(field, depth + 1)).join(',')}]]`;
}

/** Rows apart by their kinds; of too many kinds as they are. */
function columnOfKinds(values: readonly unknown[], depth: number): string {
  const groups = new Map<string, { readonly letter: number; readonly values: unknown[] }>();
  const places = Buffer.alloc(values.length);
  for (const [index, value] of values.entries()) {
    const kind = kindOf(value);
    let group = groups.get(kind);
    if (group === undefined) groups.set(kind, (group = { letter: FIRST_LETTER + groups.size, values: [] }));
    if (groups.size > KINDS) return plain(values);
    group.values.push(value);
    places[index] = group.letter;
  }
  // Of one kind each, but for objects whose keys only look alike when they are joined.
  const written = [...groups.values()].map(({ values: group }) => `[${group.length},${columnOfOneKind(group, depth) ?? plain(group)}]`);
  return `["m","${places.toString('latin1')}",[${written.join(',')}]]`;
}

function kindOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return '';
  if (Array.isArray(value)) return String(Math.min(value.length, TUPLE + 1));
  return `{${Object.keys(value).join()}`;
}

type Tagged = readonly [tag: string, ...parts: unknown[]];

/** Throws `SyntaxError` where the text is no JSON; of JSON it must be one that `columnarJson` wrote. */
export function parseColumnarJson(text: string): unknown {
  return read(JSON.parse(text));
}

function read(value: unknown): unknown {
  if (isPrimitive(value)) return value;
  const [tag, first, second] = value as Tagged;
  switch (tag) {
    case 'v':
      return first;
    case 'o': {
      const fields = second as readonly unknown[];
      return Object.fromEntries((first as readonly string[]).map((key, index) => [key, read(fields[index])]));
    }
    case 'a':
      return (first as readonly unknown[]).map(read);
    case 'l':
      return readColumn(second, first as number);
    default:
      throw new TypeError(`a value tagged ${tag}`);
  }
}

function readColumn(column: unknown, count: number): readonly unknown[] {
  const [tag, first, second] = column as Tagged;
  switch (tag) {
    case '=':
      return Array.from<unknown>({ length: count }).fill(first);
    case 'v':
      return first as readonly unknown[];
    case 'a':
      return (first as readonly unknown[]).map(read);
    case 'r': {
      const keys = first as readonly string[];
      return readRows(second as readonly Tagged[], count, (fields, index) => {
        const row: Record<string, unknown> = {};
        for (let at = 0; at < keys.length; at++) row[keys[at]!] = fields[at]![index];
        return row;
      });
    }
    case 't':
      return readRows(first as readonly Tagged[], count, (fields, index) => fields.map((values) => values[index]));
    case 'm': {
      const places = first as string;
      const groups = (second as readonly [number, unknown][]).map(([size, group]) => readColumn(group, size)[Symbol.iterator]());
      return Array.from({ length: count }, (_, index): unknown => groups[places.charCodeAt(index) - FIRST_LETTER]!.next().value);
    }
    default:
      throw new TypeError(`a column tagged ${tag}`);
  }
}

/** One row for all where they are equal. */
function readRows(
  columns: readonly Tagged[],
  count: number,
  rowAt: (fields: readonly (readonly unknown[])[], index: number) => unknown,
): readonly unknown[] {
  if (columns.every(([tag]) => tag === '='))
    return Array.from<unknown>({ length: count }).fill(
      rowAt(
        columns.map(([, value]) => [value]),
        0,
      ),
    );
  const fields = columns.map((column) => readColumn(column, count));
  return Array.from({ length: count }, (_, index) => rowAt(fields, index));
}
