/** Errors about a part of a document, or about another form of it, said of the place where it stands in the whole. Workflow-safe. */
import { CheckpointConfigError, isCheckpointError, type CheckpointError } from '../errors.ts';

/** One of several that an error tells together, under `problems` in its details. */
export type Problem = { readonly path: string; readonly message: string };

export function problemsIn({ details }: CheckpointError): readonly Problem[] | undefined {
  return details['problems'] as readonly Problem[] | undefined;
}

/** The same error about other places of a document. */
export function movedTo(error: CheckpointError, move: (path: string) => string): CheckpointError {
  const path = error.details['config_path'];
  if (typeof path !== 'string') return error;
  const problems = problemsIn(error)?.map((problem) => ({ ...problem, path: move(problem.path) }));
  const details = { ...error.details, config_path: move(path), ...(problems === undefined ? {} : { problems }) };
  return new CheckpointConfigError(error.message, undefined, { cause: error, details });
}

/** Where the parts of a document stand in the one that was written: each stage, and settings by their names. */
export interface Places {
  readonly origins: readonly string[];
  readonly places?: Readonly<Record<string, string>>;
}

/** Errors of `act` about `stages[2].strict` or `retry.backoff` say where that stands in the document as it was written. */
export function inPlace<T>(places: Places, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw isCheckpointError(error) ? placed(error, places) : error;
  }
}

/** The same for an error that is there already. */
export function placed(error: CheckpointError, { origins, places = {} }: Places): CheckpointError {
  return movedTo(error, (path) => {
    const [, index, rest] = /^stages\[(\d+)\](.*)$/s.exec(path) ?? [];
    const origin = index === undefined ? undefined : origins[Number(index)];
    if (origin !== undefined) return `${origin}${rest}`;
    const setting = /^\w+/.exec(path)?.[0] ?? '';
    return Object.hasOwn(places, setting) ? `${places[setting]}${path.slice(setting.length)}` : path;
  });
}
