/** Which of the three documents one is, by its keys. Workflow-safe. */
import { CheckpointConfigError, type CheckpointError } from '../errors.ts';
import { isMapping, type Mapping } from '../model/json.ts';
import { didYouMean } from '../model/suggestions.ts';
import { pathOf } from './all-problems.ts';

export type DocumentKind = 'pipeline' | 'batch' | 'schedule';

/** What takes each of them. */
const COMMANDS: Readonly<Record<DocumentKind, string>> = {
  pipeline: 'ckpt run',
  batch: 'ckpt batch run',
  schedule: 'ckpt schedule apply',
};

/** Undefined: it has none of the keys that tell. */
export function documentKind(given: unknown): DocumentKind | undefined {
  if (!isMapping(given)) return undefined;
  if (['stages', 'training', 'checkpoint_pipeline'].some((key) => key in given)) return 'pipeline';
  if ('items' in given) return 'batch';
  return 'cron' in given || 'every' in given || typeof given['pipeline'] === 'string' || 'batch' in given ? 'schedule' : undefined;
}

/** An error for each key that the kind does not know. */
export function unknownKeys(given: Mapping, known: readonly string[], kind: DocumentKind): readonly CheckpointConfigError[] {
  const is = documentKind(given);
  const isAnother = is !== undefined && is !== kind;
  const hint = (key: string): string => (isAnother ? ` Is it a ${is}? That is for \`${COMMANDS[is]}\`.` : didYouMean(key, known));
  return Object.keys(given)
    .filter((key) => !known.includes(key))
    .map((key) => new CheckpointConfigError(`Unknown key \`${key}\`.${hint(key)} A ${kind} knows: ${known.join(', ')}.`, key));
}

/** Of a document that is of another kind: one of its keys says so, and all else that is wrong with it says nothing. */
export function ofAnotherKind(given: Mapping, known: readonly string[], kind: DocumentKind): CheckpointConfigError | undefined {
  return [kind, undefined].includes(documentKind(given)) ? undefined : unknownKeys(given, known, kind)[0];
}

/** The unknown keys of a document and its other problems, but for keys that it lacks where a wrong one is most often the cause. */
export function withUnknownKeys(
  problems: readonly CheckpointError[],
  given: Mapping,
  known: readonly string[],
  kind: DocumentKind,
): readonly CheckpointError[] {
  const unknown = unknownKeys(given, known, kind);
  const isThere = (error: CheckpointError): boolean => Object.hasOwn(given, /^\w+/.exec(pathOf(error))?.[0] ?? '');
  return unknown.length === 0 ? problems : [...unknown, ...problems.filter(isThere)];
}
