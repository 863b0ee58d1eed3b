/** How a value that was written is read; `grammar.ts` says what stands there. */
import { FIRST_LETTER, isPrimitive } from './grammar.ts';

type Tagged = readonly [tag: string, ...parts: unknown[]];

/** Columns by their digests. */
type Parts = ReadonlyMap<string, unknown>;

const DIGEST = /^[0-9a-f]{64}$/;

/**
 * Throws `SyntaxError` where the text is not JSON; of JSON it must be one that `columnarJson` wrote. `textOf` gives the parts' texts: they are
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
