/** What a value of unknown shape is, told before it is looked into. */
import type { Json } from '../errors.ts';

/** A mapping of names, as documents have them: no list. */
export type Mapping = Readonly<Record<string, unknown>>;

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A list as it is; in all else there is nothing. */
export function listIn(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}
