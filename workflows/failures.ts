/** What a workflow catches of an activity, as reports of our own. */
import { ActivityFailure, ApplicationFailure, ContinueAsNew, isCancellation, TemporalFailure, TimeoutFailure } from '@temporalio/workflow';
import { codedReport, isCheckpointError, WORKER_STOPPED, type ErrorReport, type JsonObject } from '../src/errors.ts';
import type { AttemptRecord } from '../src/pipeline/contract.ts';

/** Type of what the SDK says of an attempt that has not ended when the worker's time to stop is over. */
const STOPPED_BY_SDK = 'WorkerShutdown';

/** The domain error inside an activity failure, as it was thrown on the worker; of any other the type goes into `details`. */
export function reportOfFailure(thrown: unknown): ErrorReport {
  if (isCheckpointError(thrown)) return thrown.toJSON();
  const cause = thrown instanceof ActivityFailure ? thrown.cause : thrown;
  if (cause instanceof ApplicationFailure) {
    // Our workers put details first; a plug-in may have thrown a failure of its own.
    const said = cause.details?.[0];
    const details = typeof said === 'object' && said !== null ? (said as JsonObject) : {};
    const type = cause.type ?? 'CheckpointError';
    const reason = type === STOPPED_BY_SDK ? { reason: WORKER_STOPPED } : {};
    return codedReport({ type, message: cause.message, details: { ...reason, ...details } });
  }
  if (cause instanceof TimeoutFailure) {
    return {
      type: 'CheckpointTimeoutError',
      message: `No attempt of the stage finished in time (${cause.timeoutType ?? 'timeout'}). ${whyInTime(cause)}`,
      details: { operation: 'stage', timeout_type: cause.timeoutType ?? null },
    };
  }
  return { type: 'CheckpointError', message: cause instanceof Error ? cause.message : String(cause), details: {} };
}

/** What ends a batch: errors of our own and of activities. Any other is a defect, and the batch goes on once that is mended. */
export function isOwn(thrown: unknown): boolean {
  return !isCancellation(thrown) && !(thrown instanceof ContinueAsNew) && (isCheckpointError(thrown) || thrown instanceof TemporalFailure);
}

/** A worker that has a stage is heard of every few seconds, however long that takes: no larger limit helps where it is not. */
function whyInTime({ timeoutType }: TimeoutFailure): string {
  return timeoutType === 'HEARTBEAT'
    ? 'Nothing was heard any more of the worker that had it: is it running? It may have been stopped or killed (out of memory), or have been too busy.'
    : 'Is a worker running? A larger `timeout` may help.';
}

export interface Attempts {
  readonly count: number;
  readonly listed: readonly AttemptRecord[];
}

/** How many attempts were made, and what is known of each; `most` where nobody could say. */
export function attemptsOf(thrown: unknown, most: number): Attempts {
  const cause = thrown instanceof ActivityFailure ? thrown.cause : undefined;
  // What our workers add to failures and heartbeats.
  const said = (
    cause instanceof ApplicationFailure ? cause.details?.[1] : cause instanceof TimeoutFailure ? cause.lastHeartbeatDetails : undefined
  ) as { readonly attempt?: number; readonly attempts?: readonly AttemptRecord[] } | null | undefined;
  const listed = Array.isArray(said?.attempts) ? said.attempts : [];
  // After a time limit, nobody tells which attempt was the last; retries go on until there are none left.
  return { count: said?.attempt ?? most, listed };
}

/** Fails the workflow with our error: `details` first, then what else clients without a worker should get. */
export function failureOf(report: ErrorReport, ...more: readonly unknown[]): ApplicationFailure {
  return ApplicationFailure.create({ message: report.message, type: report.type, nonRetryable: true, details: [report.details, ...more] });
}
