/** Details of errors on their way into Temporal's history: plain JSON of bounded size, whatever the raiser put in. Workflow-safe. */
import type { Json, JsonObject } from '../errors.ts';

const MOST_ENTRIES = 100;
const MOST_CHARACTERS = 2000;
const DEEPEST = 6;
/** Characters of JSON in all; payloads are refused at 2 MiB, and a result holds the errors of all stages. */
const MOST_IN_ALL = 16 * 1024;

/** Circular and deep values become words; long lists and texts are cut; what is beyond the limit in all is left out. */
export function boundedDetails(details: unknown): JsonObject {
  const kept: Record<string, Json> = {};
  if (typeof details !== 'object' || details === null) return kept;
  let room = MOST_IN_ALL;
  for (const [key, value] of Object.entries(details).slice(0, MOST_ENTRIES)) {
    let plain = plainJson(value, DEEPEST, MOST_ENTRIES);
    if (JSON.stringify(plain).length > room) plain = plainJson(value, 3, 10);
    const size = JSON.stringify(plain).length + key.length;
    if (size > room) continue;
    room -= size;
    kept[key] = plain;
  }
  return kept;
}

function plainJson(value: unknown, depth: number, most: number): Json {
  if (typeof value === 'string') return value.length > MOST_CHARACTERS ? `${value.slice(0, MOST_CHARACTERS)} …` : value;
  if (value === null || value === undefined || typeof value === 'boolean') return value ?? null;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object') return String(value).slice(0, MOST_CHARACTERS);
  // A circle is as deep as one likes.
  if (depth === 0) return '…';
  if (Array.isArray(value)) return value.slice(0, most).map((each) => plainJson(each, depth - 1, most));
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, most)
      .map(([key, each]) => [key, plainJson(each, depth - 1, most)]),
  );
}
