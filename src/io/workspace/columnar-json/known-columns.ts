/** Columns that were written, for values that share them: what a stage leaves alone of a header or plan stands in the next one's, too. */
import type { Column } from './pieces.ts';

/** Columns of texts that are looked through for an equal one. */
const REMEMBERED = 8;

/** Columns of objects by the first of them, lists of anything else by themselves. */
const written = new WeakMap<object, Column>();
/** Columns of texts, which nothing knows them by: parts of what is written, and gone with it. */
let texts: readonly WeakRef<Column>[] = [];

export function columnBy(key: object, values: readonly unknown[], depth: number): Column | undefined {
  const column = written.get(key);
  return column !== undefined && isColumn(column, values, depth) ? column : undefined;
}

export function rememberBy(key: object, column: Column): void {
  written.set(key, column);
}

export function columnOfTexts(values: readonly unknown[], depth: number): Column | undefined {
  for (const each of texts) {
    const column = each.deref();
    if (column !== undefined && isColumn(column, values, depth)) return column;
  }
  return undefined;
}

export function rememberTexts(column: Column): void {
  texts = [new WeakRef(column), ...texts.filter((each) => each.deref() !== undefined)].slice(0, REMEMBERED);
}

/** The same values at the same depth: the depth decides how the text is split into parts. */
function isColumn(column: Column, values: readonly unknown[], depth: number): boolean {
  return column.depth === depth && isSame(column.values, values);
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
