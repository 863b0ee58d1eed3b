/** What Temporal's client throws, as errors of our own. */
import { WorkflowNotFoundError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { CheckpointNotFoundError, codedReport, type ErrorReport, type JsonObject } from '../errors.ts';

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
