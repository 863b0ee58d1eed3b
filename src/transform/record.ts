/**
 * Lists for a run's metadata, which travels through Temporal with every stage: counts are exact, of the names the first few.
 * The complete lists are in the plan's `record`, hence in the manifest beside the published file.
 */
import type { Json, JsonObject } from '../errors.ts';
import type { Plan } from '../model/plan.ts';

/** Entries of a list that stay in the metadata. */
const MOST_ENTRIES = 20;
/** Characters of one list's JSON in the metadata; where all of them are too much for a context, it is cut further. */
const MOST_CHARACTERS = 1200;

/** `{key: the first entries, countKey: all of them}`. */
export function briefList(key: string, countKey: string, entries: readonly Json[]): JsonObject {
  return { [key]: firstOf(entries), [countKey]: entries.length };
}

/** The first entries of a mapping, under the same bounds. */
export function briefMap(entries: readonly (readonly [string, Json])[]): JsonObject {
  return Object.fromEntries(firstOf(entries.map(([key, value]) => [key, value])) as readonly [string, Json][]);
}

/** An entry with its own lists cut to their first entries. */
export function briefEntry(entry: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(entry).map(([key, value]) => [key, Array.isArray(value) ? firstOf(value as readonly Json[]) : value]),
  );
}

function firstOf(entries: readonly Json[]): readonly Json[] {
  const kept: Json[] = [];
  let room = MOST_CHARACTERS;
  for (const entry of entries.slice(0, MOST_ENTRIES)) {
    room -= JSON.stringify(entry).length + 1;
    if (room < 0) break;
    kept.push(entry);
  }
  return kept;
}

/** The plan with complete lists added to its record. */
export function withRecord(plan: Plan, record: JsonObject): Plan {
  return { ...plan, record: { ...plan.record, ...record } };
}
