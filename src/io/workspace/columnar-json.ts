/**
 * JSON text for values that are mostly long lists of alike objects, as headers and plans are: such a list is written as columns, so that
 * names of fields stand there once and what all rows share does, too. A third of the text, and of the time to write and to read it.
 *
 * Long columns that values share are parts: texts of their own, which the value's text calls by their digests. So what a stage leaves
 * alone is written once for all stages, and a name's list once for all that names the same.
 *
 * Invariant: reading gives what `JSON.parse(JSON.stringify(value))` would, with keys in their order; one value has one text, so that
 * texts can be known by their digest. Rows that are equal in all fields may come back as one object, and lists that are equal as one:
 * what is read is not to be changed.
 *
 * A value is written as itself where it is a primitive, else as a tagged list:
 *
 *     ["v", value]                       as it is
 *     ["o", [key …], [value …]]          an object
 *     ["a", [value …]]                   a short list
 *     ["l", count, column]               a long one
 *
 *     ["p", [sha256 …], value]           the whole, where it has parts
 *
 * and a column of `count` values as
 *
 *     ["=", primitive]                   the same in all rows
 *     ["+", number, step]                whole numbers, each by as much above the one before
 *     ["v", [value …]]                   as they are
 *     ["a", [value …]]                   each written as above
 *     ["r", [key …], [column …]]         objects of the same keys
 *     ["t", [column …]]                  lists of the same length
 *     ["m", places, [[count, column] …]] of several such kinds; `places` has a letter for each row
 *     ["#", sha256]                      the part of this digest, which is a column
 */
import { hash } from 'node:crypto';

/** Lists from this length on become columns. */
const LONG = 32;
/** Lists up to this length are told apart by it. */
const TUPLE = 8;
/** Kinds of values in a list: a list of more is left as it is. */
const KINDS = 26;
/** Deeper values are left as they are: what a file says may nest as it likes. */
const DEEPEST = 16;
const FIRST_LETTER = 97;

/** Columns within this depth are those that headers and plans of a run share, from this length on worth to be looked for. */
const SHARED_DEPTH = 4;
const SHARED_LENGTH = 256;
/** Columns within this depth are parts, from so many bytes of text on: lists of tensors and of their names. */
const PART_DEPTH = 3;
const PART_BYTES = 256 * 1024;
/** Columns of texts that are looked through for an equal one. */
const REMEMBERED = 8;

type Row = { readonly [key: string]: unknown };

/** A text in UTF-8 with its digest in hexadecimal. */
export interface Part {
  readonly sha256: string;
  readonly text: Uint8Array;
}

export interface ColumnarJson {
  readonly text: Uint8Array;
  /** Each once. */
  readonly parts: readonly Part[];
}

/** A column that was written, with its text and the parts that it calls. */
interface Written {
  readonly values: readonly unknown[];
  readonly depth: number;
  readonly text: Uint8Array;
  /** Where it is a part itself, else null. */
  readonly sha256: string | null;
  readonly parts: readonly Part[];
}

type Piece = string | Written;

/** Columns of objects by the first of them, lists of anything else by themselves. */
const written = new WeakMap<object, Written>();
/** Columns of texts, which nothing knows them by: parts of what is written, and gone with it. */
let texts: readonly WeakRef<Written>[] = [];

export function columnarJson(value: unknown): ColumnarJson {
  const out: Piece[] = [];
  writeValue(value, 0, out);
  const parts = partsOf(out);
  if (parts.length === 0) return { text: encoded(out), parts };
  return { text: encoded([`["p",${JSON.stringify(parts.map(({ sha256 }) => sha256))},`, ...out, ']']), parts };
}

function partsOf(pieces: readonly Piece[]): readonly Part[] {
  const parts = new Map<string, Part>();
  for (const piece of pieces) {
    if (typeof piece === 'string') continue;
    for (const part of piece.parts) parts.set(part.sha256, part);
    if (isPart(piece)) parts.set(piece.sha256, piece);
  }
  return [...parts.values()];
}

function isPart(piece: Written): piece is Written & Part {
  return piece.sha256 !== null;
}

/** Each piece by itself: joined, they would be there twice. */
function encoded(pieces: readonly Piece[]): Uint8Array {
  const out = pieces.map((piece) => (typeof piece === 'string' ? piece : isPart(piece) ? `["#","${piece.sha256}"]` : piece.text));
  const bytes = Buffer.allocUnsafe(out.reduce((sum, each) => sum + Buffer.byteLength(each), 0));
  let at = 0;
  for (const each of out) {
    if (typeof each === 'string') at += bytes.write(each, at);
    else {
      bytes.set(each, at);
      at += each.length;
    }
  }
  return bytes;
}

function writeValue(value: unknown, depth: number, out: Piece[]): void {
  if (typeof value !== 'object' || value === null) out.push(JSON.stringify(value) ?? 'null');
  else if (depth > DEEPEST) writePlain(value, out);
  else if (!Array.isArray(value)) writeObject(value as Row, depth, out);
  else if (value.length >= LONG) {
    out.push(`["l",${value.length},`);
    writeColumn(value, depth + 1, out, value);
    out.push(']');
  } else if (value.every(isPrimitive)) writePlain(value, out);
  else writeEach(value, depth, out);
}

function writeObject(value: Row, depth: number, out: Piece[]): void {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  if (entries.every(([, field]) => isPrimitive(field))) return void writePlain(value, out);
  out.push(`["o",${JSON.stringify(entries.map(([key]) => key))},`);
  writeList(entries, out, ([, field]) => writeValue(field, depth + 1, out));
  out.push(']');
}

function writeEach(values: readonly unknown[], depth: number, out: Piece[]): void {
  out.push('["a",');
  writeList(values, out, (value) => writeValue(value, depth + 1, out));
  out.push(']');
}

function writeList<T>(items: readonly T[], out: Piece[], write: (item: T, index: number) => void): void {
  for (let index = 0; index < items.length; index++) {
    out.push(index === 0 ? '[' : ',');
    write(items[index]!, index);
  }
  out.push(items.length === 0 ? '[]' : ']');
}

/** In pieces: put together, a long text would be copied. */
function writePlain(value: unknown, out: Piece[]): void {
  out.push('["v",', JSON.stringify(value), ']');
}

function isPrimitive(value: unknown): boolean {
  return typeof value !== 'object' || value === null;
}

/** `list`: the values are a whole list, which may be part of other values, too. */
function writeColumn(values: readonly unknown[], depth: number, out: Piece[], list?: readonly unknown[]): void {
  if (depth > DEEPEST) return void writePlain(values, out);
  if (depth > SHARED_DEPTH || values.length < SHARED_LENGTH) return writeNewColumn(values, depth, out);
  const [first] = values;
  const key = typeof first === 'object' && first !== null ? first : list;
  const isOfTexts = typeof first === 'string' && depth <= PART_DEPTH;
  if (key === undefined && !isOfTexts) return writeNewColumn(values, depth, out);
  const known = key === undefined ? undefined : written.get(key);
  let column = known !== undefined && isColumn(known, values, depth) ? known : undefined;
  if (isOfTexts) column ??= remembered(values, depth);
  column ??= newColumn(values, depth);
  if (key !== undefined) written.set(key, column);
  out.push(column);
}

function newColumn(values: readonly unknown[], depth: number): Written {
  const pieces: Piece[] = [];
  writeNewColumn(values, depth, pieces);
  const text = encoded(pieces);
  const sha256 = depth <= PART_DEPTH && text.length >= PART_BYTES ? hash('sha256', text) : null;
  const column: Written = { values, depth, text, sha256, parts: partsOf(pieces) };
  if (sha256 !== null && typeof values[0] === 'string')
    texts = [new WeakRef(column), ...texts.filter((each) => each.deref() !== undefined)].slice(0, REMEMBERED);
  return column;
}

function remembered(values: readonly unknown[], depth: number): Written | undefined {
  for (const each of texts) {
    const column = each.deref();
    if (column !== undefined && isColumn(column, values, depth)) return column;
  }
  return undefined;
}

/** The same values at the same depth: the depth decides how the text is split into parts. */
function isColumn(column: Written, values: readonly unknown[], depth: number): boolean {
  return column.depth === depth && isSame(column.values, values);
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

function writeNewColumn(values: readonly unknown[], depth: number, out: Piece[]): void {
  if (!writeOneKind(values, depth, out)) writeKinds(values, depth, out);
}

/** False, and nothing written, where the values are not all primitives, lists of one length, or objects of the same keys. */
function writeOneKind(values: readonly unknown[], depth: number, out: Piece[]): boolean {
  const [first] = values;
  if (isPrimitive(first)) return writePrimitives(values, out);
  if (Array.isArray(first)) return writeLists(values, first.length, depth, out);
  // Not primitive, no list.
  return writeRows(values, Object.keys(first as Row), depth, out);
}

function writePrimitives(values: readonly unknown[], out: Piece[]): boolean {
  const [first, second] = values;
  let isAllSame = first !== undefined;
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (typeof value === 'object' && value !== null) return false;
    isAllSame &&= value === first;
  }
  if (isAllSame) out.push(same(first));
  else if (isProgression(values)) out.push(`["+",${first as number},${(second as number) - (first as number)}]`);
  else writePlain(values, out);
  return true;
}

function same(value: unknown): string {
  return `["=",${JSON.stringify(value)}]`;
}

/** As indexes of a table are that is told row by row. */
function isProgression(values: readonly unknown[]): boolean {
  const [first, second] = values;
  if (typeof first !== 'number' || typeof second !== 'number') return false;
  const step = second - first;
  const last = first + step * (values.length - 1);
  return (
    [first, step, last].every(Number.isSafeInteger) &&
    values.every((value, index) => typeof value === 'number' && value === first + step * index)
  );
}

function writeLists(values: readonly unknown[], length: number, depth: number, out: Piece[]): boolean {
  if (!values.every((value) => Array.isArray(value) && (value.length === length || Math.min(value.length, length) > TUPLE))) return false;
  const lists = values as readonly (readonly unknown[])[];
  if (length > TUPLE || values.length < LONG) writeEach(values, depth, out);
  else {
    out.push('["t",');
    const places = Array.from({ length }, (_, place) => place);
    writeList(places, out, (place) =>
      writeColumn(
        lists.map((list) => list[place]),
        depth + 1,
        out,
      ),
    );
    out.push(']');
  }
  return true;
}

function writeRows(values: readonly unknown[], keys: readonly string[], depth: number, out: Piece[]): boolean {
  const firsts = Object.values(values[0] as Row);
  // A field's values from the first one on that is not equal to those before it.
  const fields = firsts.map((first) => (isPrimitive(first) ? null : room(values.length)));
  let isWhole = true;
  for (let index = 0; index < values.length; index++) {
    const row = values[index];
    if (typeof row !== 'object' || row === null || Array.isArray(row)) return false;
    let at = 0;
    // In this form an engine reads fields by their places, as it cannot where only the key is known.
    for (const key in row) {
      if (key !== keys[at]) return false;
      const value = (row as Row)[key];
      isWhole &&= value !== undefined;
      let field = fields[at] ?? null;
      if (field === null && value !== firsts[at]) field = fields[at] = room(values.length).fill(firsts[at], 0, index);
      if (field !== null) field[index] = value;
      at++;
    }
    if (at !== keys.length) return false;
  }
  if (values.length < LONG) writeEach(values, depth, out);
  // A field that is not there is none in JSON; and one of that name is no plain field where it is read.
  else if (!isWhole || keys.includes('__proto__')) writePlain(values, out);
  else {
    out.push(`["r",${JSON.stringify(keys)},`);
    writeList(fields, out, (field, at) => {
      if (field === null) out.push(same(firsts[at]));
      else writeColumn(field, depth + 1, out);
    });
    out.push(']');
  }
  return true;
}

/** For so many values at once: a list that grows takes three times as long. */
function room(length: number): unknown[] {
  // oxlint-disable-next-line unicorn/no-new-array -- `Array.from` goes through all places, and takes longer than to fill them.
  return new Array<unknown>(length);
}

/** Rows apart by their kinds; of too many kinds as they are. */
function writeKinds(values: readonly unknown[], depth: number, out: Piece[]): void {
  const groups = new Map<string, { readonly letter: number; readonly values: unknown[] }>();
  const places = Buffer.alloc(values.length);
  for (const [index, value] of values.entries()) {
    const kind = kindOf(value);
    let group = groups.get(kind);
    if (group === undefined) groups.set(kind, (group = { letter: FIRST_LETTER + groups.size, values: [] }));
    if (groups.size > KINDS) return void writePlain(values, out);
    group.values.push(value);
    places[index] = group.letter;
  }
  out.push(`["m","${places.toString('latin1')}",`);
  writeList([...groups.values()], out, ({ values: group }) => {
    out.push(`[${group.length},`);
    // Of one kind each, but for objects whose keys only look alike when they are joined.
    if (!writeOneKind(group, depth, out)) writePlain(group, out);
    out.push(']');
  });
  out.push(']');
}

function kindOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return '';
  if (Array.isArray(value)) return String(Math.min(value.length, TUPLE + 1));
  return `{${Object.keys(value).join()}`;
}

type Tagged = readonly [tag: string, ...parts: unknown[]];

/** Columns by their digests. */
type Parts = ReadonlyMap<string, unknown>;

const DIGEST = /^[0-9a-f]{64}$/;

/**
 * Throws `SyntaxError` where the text is no JSON; of JSON it must be one that `columnarJson` wrote. `textOf` gives the parts' texts: they are
 * asked for together, each once.
 */
export async function parseColumnarJson(text: string, textOf: (sha256: string) => Promise<string>): Promise<unknown> {
  const value = JSON.parse(text) as unknown;
  if (!Array.isArray(value) || value[0] !== 'p') return read(value, new Map());
  const [, digests, whole] = value as unknown as readonly ['p', readonly string[], unknown];
  if (!digests.every((sha256) => DIGEST.test(sha256))) throw new TypeError('a part that is called by no digest');
  const texts = await Promise.all(digests.map(textOf));
  return read(whole, new Map(digests.map((sha256, index) => [sha256, JSON.parse(texts[index]!) as unknown])));
}

function read(value: unknown, parts: Parts): unknown {
  if (isPrimitive(value)) return value;
  const [tag, first, second] = value as Tagged;
  switch (tag) {
    case 'v':
      return first;
    case 'o': {
      const fields = second as readonly unknown[];
      return Object.fromEntries((first as readonly string[]).map((key, index) => [key, read(fields[index], parts)]));
    }
    case 'a':
      return (first as readonly unknown[]).map((each) => read(each, parts));
    case 'l':
      return readColumn(second, first as number, parts);
    default:
      throw new TypeError(`a value tagged ${tag}`);
  }
}

function readColumn(column: unknown, count: number, parts: Parts): readonly unknown[] {
  const [tag, first, second] = column as Tagged;
  switch (tag) {
    case '=':
      return Array.from<unknown>({ length: count }).fill(first);
    case '+':
      return Array.from({ length: count }, (_, index) => (first as number) + (second as number) * index);
    case 'v':
      return first as readonly unknown[];
    case 'a':
      return (first as readonly unknown[]).map((each) => read(each, parts));
    case '#':
      return readColumn(parts.get(first as string), count, parts);
    case 'r': {
      const keys = first as readonly string[];
      return readRows(second as readonly Tagged[], count, parts, (fields, index) => {
        const row: Record<string, unknown> = {};
        for (let at = 0; at < keys.length; at++) row[keys[at]!] = fields[at]![index];
        return row;
      });
    }
    case 't':
      return readRows(first as readonly Tagged[], count, parts, (fields, index) => fields.map((values) => values[index]));
    case 'm': {
      const places = first as string;
      const groups = (second as readonly [number, unknown][]).map(([size, group]) => readColumn(group, size, parts)[Symbol.iterator]());
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
  parts: Parts,
  rowAt: (fields: readonly (readonly unknown[])[], index: number) => unknown,
): readonly unknown[] {
  if (columns.every(([tag]) => tag === '='))
    return Array.from<unknown>({ length: count }).fill(
      rowAt(
        columns.map(([, value]) => [value]),
        0,
      ),
    );
  const fields = columns.map((column) => readColumn(column, count, parts));
  return Array.from({ length: count }, (_, index) => rowAt(fields, index));
}
