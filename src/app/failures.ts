/** What Temporal's client throws, as errors of our own. */
import { WorkflowNotFoundError } from '@temporalio/client';
import { ApplicationFailure, TerminatedFailure, TimeoutFailure } from '@temporalio/common';
import { CheckpointNotFoundError, codedReport, type ErrorReport, type JsonObject } from '../errors.ts';
import { suggestionFor } from '../pipeline/advice.ts';

/** The domain error that a workflow or a handler of it has failed with; `fallback` speaks for a cause without words. */
export function reportOfCause(cause: unknown, fallback: string): ErrorReport {
  const ours = cause instanceof ApplicationFailure ? cause : undefined;
  return codedReport({
    type: ours?.type ?? 'CheckpointError',
    message: cause instanceof Error ? cause.message : fallback,
    // Our workers put details first.
    details: (ours?.details?.[0] as JsonObject | undefined) ?? {},
  });
}

/** What Temporal's client says where whoever terminated a run gave no reason. */
const NO_REASON = 'Workflow execution terminated';
const NOT_CLEANED_UP = 'What it had not finished is not cleaned up: a partial file or upload may be left beside its output.';

/** Of a run that the server has ended without a word of its workflow; null where it has not. */
export function endedByServer(cause: unknown): ErrorReport | null {
  if (cause instanceof TerminatedFailure) {
    const said = cause.message === NO_REASON ? null : cause.message;
    return withSuggestion({
      type: 'CheckpointError',
      message: `The run was terminated${said === null ? '' : ` (reason: ${said})`}. ${NOT_CLEANED_UP}`,
      details: { reason: 'terminated', said },
    });
  }
  if (cause instanceof TimeoutFailure)
    return withSuggestion({
      type: 'CheckpointTimeoutError',
      message: `The run did not end within the time that it was started with, and the server ended it. ${NOT_CLEANED_UP}`,
      details: { reason: 'run_timed_out', operation: 'run' },
    });
  return null;
}

function withSuggestion(report: ErrorReport): ErrorReport {
  return { ...report, details: { ...report.details, suggestion: suggestionFor(report) } };
}

/** The whole result that our workflows add to their failure, so that it takes no worker to have it. */
export function resultOfCause<T>(cause: unknown): T | null {
  return cause instanceof ApplicationFailure ? ((cause.details?.[1] as T | undefined) ?? null) : null;
}

/** For `catch`: a run that is not there as `CheckpointNotFoundError`; all else as it is. */
export function rejectNotFound(workflowId: string): (error: unknown) => Promise<never> {
  return (error) =>
    Promise.reject(
      error instanceof WorkflowNotFoundError
        ? new CheckpointNotFoundError(`There is no run ${workflowId} on this server, or it has ended long ago.`, workflowId, {
            cause: error,
          })
        : error,
    );
}
