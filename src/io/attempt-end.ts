/** What an attempt that ends leaves of what it has brought. */
import { isCheckpointError } from '../errors.ts';

/** Temporal's reasons for which an attempt is over and its run is not: for all it knows, the next one has begun. */
const ATTEMPT_ALONE: ReadonlySet<string> = new Set([
  'NOT_FOUND',
  'TIMED_OUT',
  'WORKER_SHUTDOWN',
  'PAUSED',
  'RESET',
  'HEARTBEAT_DETAILS_CONVERSION_FAILED',
]);

/**
 * True if the attempt must leave its partial file or upload for the next attempt; after the last one the run discards it. False only if the run was
 * cancelled or the error is final: then the attempt removes it itself.
 */
export function keepsProgress(signal: AbortSignal | undefined, error: unknown): boolean {
  if (signal?.aborted === true) return signal.reason instanceof Error && ATTEMPT_ALONE.has(signal.reason.message);
  return !(isCheckpointError(error) && !error.retryable);
}
