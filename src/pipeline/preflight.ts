/** What a run makes of the problems that were found before its first stage. Pure and workflow-safe. */
import { CheckpointConfigError, CheckpointValidationError, type ErrorReport, type JsonObject } from '../errors.ts';
import type { PipelineInput, PreflightInput, PreflightOutput, Problem } from './contract.ts';
import { optionsOf } from './document.ts';
import { onErrorOf } from './policy.ts';

/** Problems and warnings in the record; each of them in brief. */
const LISTED = 10;
const MOST_CHARACTERS = 300;

export function preflightInput({ stages, workspace }: PipelineInput): PreflightInput {
  return { stages: stages.map((stage) => ({ type: stage.type, options: optionsOf(stage) })), workspace: workspace ?? null };
}

/**
 * The problems that end the run now. What may pass is left to the stage and its retries, and a place that is not as it must be
 * to a stage whose failure is not the run's: with `on_error: wait` somebody may put the file there.
 */
export function fatalProblems(input: PipelineInput, { problems }: PreflightOutput): readonly Problem[] {
  return problems.filter(({ kind, stage, transient }) => {
    if (kind === 'config') return true;
    const spec = stage === null ? undefined : input.stages[stage];
    return !transient && (spec === undefined || onErrorOf(input, spec) === 'fail');
  });
}

/** One problem keeps its error; several become one that lists them all. */
export function preflightReport(problems: readonly Problem[]): ErrorReport {
  const listed = problems.map(({ path, error }) => ({ path, code: error.type, message: error.message }));
  const [first] = problems;
  if (problems.length === 1) return { ...first!.error, details: { ...first!.error.details, problems: listed } };
  const lines = listed.map(({ path, message }) => `${path}: ${message}`);
  const text = `${problems.length} problems, found before anything was moved`;
  const details = { problems: listed };
  if (problems.some(({ kind }) => kind !== 'config')) return new CheckpointValidationError(`${text}.`, lines, { details }).toJSON();
  // The first place is where an editor should go.
  return new CheckpointConfigError(`${text}.`, first!.path, {
    details: { ...details, validation_errors: lines, num_errors: lines.length },
  }).toJSON();
}

/** What the record keeps of it, by the names that users of Anemoi's pre-check know; `error` is what ends the run. */
export function preflightRecord({ problems, warnings }: PreflightOutput, fatal: readonly Problem[]): JsonObject {
  const status = (kind: Problem['kind'], more = 0): string => {
    if (fatal.some((problem) => problem.kind === kind)) return 'error';
    return problems.some((problem) => problem.kind === kind) || more > 0 ? 'warning' : 'ok';
  };
  const lines = [...problems.map(({ path, error }) => `${path}: ${error.message}`), ...warnings];
  return {
    validation_performed: true,
    validation_environment_status: status('place', warnings.length),
    validation_config_status: status('config'),
    ...(lines.length === 0 ? {} : { validation_findings: lines.slice(0, LISTED).map((line) => line.slice(0, MOST_CHARACTERS)) }),
  };
}
