/**
 * Keeps results below Temporal's limit for payloads, 2 MiB: a larger one is refused, and the task that sends it is retried for ever. Workflow-safe.
 */
import type { ErrorReport } from '../errors.ts';
import { boundedDetails } from './bounded.ts';
import type { PipelineResult, Problem, StageRecord } from './contract.ts';

/** Bytes of JSON: a failure takes an error along, and memos are counted with what else is in them. */
const MOST = 2 ** 20;
/** Characters of a message where there are many. */
const BRIEF = 500;

export function jsonBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}

/** The result with as much of its stages as there is room for: first their errors are cut, then what was tried. */
export function fittedResult(result: PipelineResult): PipelineResult {
  let fitted = result;
  for (const cut of [withBriefErrors, withoutTries]) {
    if (jsonBytes(fitted) <= MOST) break;
    fitted = cut(fitted);
  }
  return fitted;
}

/** The same for what a preflight has found. */
export function fittedProblems(problems: readonly Problem[]): readonly Problem[] {
  const bounded = problems.map((problem) => ({ ...problem, error: { ...problem.error, details: boundedDetails(problem.error.details) } }));
  return jsonBytes(bounded) <= MOST ? bounded : bounded.map((problem) => ({ ...problem, error: briefly(problem.error) }));
}

function withBriefErrors(result: PipelineResult): PipelineResult {
  return {
    ...result,
    stages: result.stages.map((stage): StageRecord => ({ ...stage, error: stage.error === null ? null : briefly(stage.error) })),
    error: result.error === null ? null : briefly(result.error),
  };
}

function withoutTries(result: PipelineResult): PipelineResult {
  return {
    ...result,
    stages: result.stages.map((stage): StageRecord => ({ ...stage, summary: stage.summary?.slice(0, BRIEF) ?? null, tries: [] })),
  };
}

/** An error of which the message begins, and of the details what places it. */
function briefly({ type, message, details }: ErrorReport): ErrorReport {
  const kept = ['reason', 'config_path', 'pipeline_stage', 'pipeline_stage_index', 'pipeline_stage_type', 'attempts'];
  const placed = Object.fromEntries(Object.entries(details).filter(([key, value]) => kept.includes(key) && String(value).length <= BRIEF));
  return { type, message: message.length <= BRIEF ? message : `${message.slice(0, BRIEF)} …`, details: placed };
}
