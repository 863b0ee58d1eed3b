/** How a value is written; `grammar.ts` says what stands there. */
import { hash } from 'node:crypto';
import { FIRST_LETTER, isPrimitive } from './grammar.ts';
import { columnBy, columnOfTexts, rememberBy, rememberTexts } from './known-columns.ts';
import { encoded, partsOf, type Column, type Part, type Piece } from './pieces.ts';

/** Lists from this length on become columns. */
const LONG = 32;
/** Lists up to this length are told apart by it. */
const TUPLE = 8;
/** Kinds of values in a list: a list of more is left as it is. */
const KINDS = 26;
/** Deeper values are left as they are: what a file says may nest as it likes. */
const DEEPEST = 16;

/** Columns within this depth are those that headers and plans of a run share, from this length on worth to be looked for. */
const SHARED_DEPTH = 4;
const SHARED_LENGTH = 256;
/** Columns within this depth are parts, from so many bytes of text on: lists of tensors and of their names. */
const PART_DEPTH = 3;
const PART_BYTES = 256 * 1024;

type Row = { readonly [key: string]: unknown };

export interface ColumnarJson {
  readonly text: Uint8Array;
  /** Each once. */
  readonly parts: readonly Part[];
}

export function columnarJson(value: unknown): ColumnarJson {
  const out: Piece[] = [];
  writeValue(value, 0, out);
  const parts = partsOf(out);
  if (parts.length === 0) return { text: encoded(out), parts };
  return { text: encoded([`["p",${JSON.stringify(parts.map(({ sha256 }) => sha256))},`, ...out, ']']), parts };
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

/** `list`: the values are a whole list, which may be part of other values, too. */
function writeColumn(values: readonly unknown[], depth: number, out: Piece[], list?: readonly unknown[]): void {
  if (depth > DEEPEST) return void writePlain(values, out);
  if (depth > SHARED_DEPTH || values.length < SHARED_LENGTH) return writeNewColumn(values, depth, out);
  const [first] = values;
  const key = typeof first === 'object' && first !== null ? first : list;
  const isOfTexts = typeof first === 'string' && depth <= PART_DEPTH;
  if (key === undefined && !isOfTexts) return writeNewColumn(values, depth, out);
  let column = key === undefined ? undefined : columnBy(key, values, depth);
  if (isOfTexts) column ??= columnOfTexts(values, depth);
  column ??= newColumn(values, depth);
  if (key !== undefined) rememberBy(key, column);
  out.push(column);
}

function newColumn(values: readonly unknown[], depth: number): Column {
  const pieces: Piece[] = [];
  writeNewColumn(values, depth, pieces);
  const text = encoded(pieces);
  const sha256 = depth <= PART_DEPTH && text.length >= PART_BYTES ? hash('sha256', text) : null;
  const column: Column = { values, depth, text, sha256, parts: partsOf(pieces) };
  if (sha256 !== null && typeof values[0] === 'string') rememberTexts(column);
  return column;
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
  // A field that is not there is none in JSON; and one of that name is not a plain field where it is read.
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
