/** What an attempt that ends leaves of what it has brought. */
import { isCheckpointError } from '../../errors.ts';

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
 * Whether it stays where it is, for an attempt after this one; after the last one the run discards it. Only what was cancelled with its run, or
 * failed for good, is nobody's any more: else a late attempt would take it from under the next.
 */
export function keepsProgress(signal: AbortSignal, error: unknown): boolean {
  if (signal.aborted) return signal.reason instanceof Error && ATTEMPT_ALONE.has(signal.reason.message);
  return !(isCheckpointError(error) && !error.retryable);
}
