/** Warnings of a run, as its metadata keeps them. Workflow-safe. */
import type { Json } from '../errors.ts';
import { listIn } from './json.ts';

/** Warnings that stay: the last ones. */
const MOST = 20;

/** Those of the metadata and then `more`, the oldest left out beyond the limit. */
export function withWarnings(metadata: Readonly<Record<string, Json>>, more: readonly Json[]): readonly Json[] {
  return [...listIn(metadata['warnings']), ...more].slice(-MOST);
}
