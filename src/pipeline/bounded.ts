/** Details of errors on their way into Temporal's history: plain JSON of bounded size, whatever the raiser put in. Workflow-safe. */
import { textOf, withoutUserInfo, type Json, type JsonObject } from '../errors.ts';

const MOST_ENTRIES = 100;
const MOST_CHARACTERS = 2000;
const DEEPEST = 6;
/** Values that are looked at for one entry: what refers to itself in many places would have millions. */
const MOST_VALUES = 5000;
/** Characters of JSON in all; payloads are refused at 2 MiB, and a result holds the errors of all stages. */
const MOST_IN_ALL = 16 * 1024;

/** Circular and deep values become words; long lists and texts are cut; what is beyond the limit in all is left out. */
export function boundedDetails(details: unknown): JsonObject {
  const kept: Record<string, Json> = {};
  if (typeof details !== 'object' || details === null) return kept;
  let room = MOST_IN_ALL;
  for (const [key, value] of entriesOf(details, MOST_ENTRIES)) {
    let plain = plainJson(value, { depth: DEEPEST, most: MOST_ENTRIES });
    if (JSON.stringify(plain).length > room) plain = plainJson(value, { depth: 3, most: 10 });
    const size = JSON.stringify(plain).length + key.length;
    if (size > room) continue;
    room -= size;
    kept[key] = plain;
  }
  return kept;
}

function plainJson(root: unknown, bounds: { readonly depth: number; readonly most: number }): Json {
  const { most } = bounds;
  const above = new Set<object>();
  let values = MOST_VALUES;
  const plain = (value: unknown, depth: number): Json => {
    if (--values < 0) return '…';
    if (typeof value === 'string') {
      const shown = withoutUserInfo(value);
      return shown.length > MOST_CHARACTERS ? `${shown.slice(0, MOST_CHARACTERS)} …` : shown;
    }
    if (value === null || value === undefined || typeof value === 'boolean') return value ?? null;
    if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
    if (typeof value !== 'object') return String(value).slice(0, MOST_CHARACTERS);
    if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
    if (depth === 0 || above.has(value)) return '…';
    above.add(value);
    const inside = Array.isArray(value)
      ? value.slice(0, most).map((each) => plain(each, depth - 1))
      : Object.fromEntries(entriesOf(value, most).map(([key, each]) => [key, plain(each, depth - 1)]));
    above.delete(value);
    return inside;
  };
  return plain(root, bounds.depth);
}

/** The first ones; what cannot be read is told as that. */
function entriesOf(value: object, most: number): readonly (readonly [string, unknown])[] {
  return Object.keys(value)
    .slice(0, most)
    .map((key) => [key, valueAt(value, key)]);
}

function valueAt(value: object, key: string): unknown {
  try {
    return (value as Record<string, unknown>)[key];
  } catch (error) {
    return `cannot be read: ${textOf(error)}`;
  }
}
