/** All that is wrong with a document, told at once. Workflow-safe. */
import { CheckpointConfigError, isCheckpointError, type CheckpointError } from '../errors.ts';
import { problemsIn, type Problem } from './moved-errors.ts';

/** More of them are counted, and not told. */
const MOST_TOLD = 100;

/** Takes what is wrong, for whoever goes on without it. */
export type Tell = (error: CheckpointError) => void;

/** What the checks find wrong, in their order: none of them keeps the others from being made. */
export function allProblems(checks: readonly (() => void)[]): readonly CheckpointError[] {
  const problems: CheckpointError[] = [];
  for (const check of checks) attempt(check, undefined, (error) => problems.push(error));
  return problems;
}

/** What `act` gives, or `otherwise`, and its error told. */
export function attempt<T>(act: () => T, otherwise: T, tell: Tell): T {
  try {
    return act();
  } catch (error) {
    if (!isCheckpointError(error)) throw error;
    tell(error);
    return otherwise;
  }
}

/** Throws what there is: one problem keeps its error; several become one that lists them all. */
export function throwTogether(errors: readonly CheckpointError[]): void {
  if (errors.length === 0) return;
  if (errors.length === 1) throw errors[0]!;
  const problems = errors.flatMap((error): readonly Problem[] => problemsIn(error) ?? [{ path: pathOf(error), message: error.message }]);
  const told = problems.slice(0, MOST_TOLD);
  const count = `${problems.length} problems${told.length < problems.length ? `, of which these are the first ${MOST_TOLD}` : ''}.`;
  throw new CheckpointConfigError(count, told[0]!.path, { details: { problems: told } });
}

/** Of the errors those about other places than `told`: what could not be read there is no problem of its own. */
export function aboutOthers(errors: readonly CheckpointError[], told: readonly string[]): readonly CheckpointError[] {
  const isWithin = (inner: string, outer: string): boolean => inner.startsWith(outer) && /^([.[]|$)/.test(inner.slice(outer.length));
  return errors.filter((error) => !told.some((path) => isWithin(pathOf(error), path) || isWithin(path, pathOf(error))));
}

export function pathOf({ details }: CheckpointError): string {
  return String(details['config_path'] ?? '');
}
