/** The one place where our errors become Temporal's: an interceptor, as failure converters never see the class. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { CheckpointError, isCheckpointError, reportOf, WORKER_STOPPED } from '../src/errors.ts';
import { escapeControls } from '../src/model/text.ts';
import { boundedDetails } from '../src/pipeline/bounded.ts';
import { attemptsBefore, endedAttempt } from './attempts.ts';

/** Of a message; details have their own bound. */
const MOST_CHARACTERS = 10_000;

/**
 * What ends an attempt whose worker is being stopped, whatever it has thrown for that; null where the worker goes on. The SDK's own words for
 * it would come without the attempts, and of a type that is no code of ours.
 */
export function stoppedWorker({ aborted, reason }: AbortSignal): CheckpointError | null {
  if (!aborted || !(reason instanceof Error) || reason.message !== 'WORKER_SHUTDOWN') return null;
  return new CheckpointError('The worker was stopped before this attempt had ended.', {
    cause: reason,
    details: { reason: WORKER_STOPPED },
  });
}

export const mapErrors: ActivityInterceptorsFactory = (context) => ({
  inbound: {
    async execute(input, next) {
      const started = new Date().toISOString();
      try {
        return await next(input);
      } catch (error) {
        const stopped = stoppedWorker(context.cancellationSignal);
        if (stopped === null) {
          if (error instanceof CancelledFailure || error instanceof ApplicationFailure) throw error;
          if (context.cancellationSignal.aborted) throw context.cancellationSignal.reason;
        }
        const thrown = stopped ?? error;
        const report = reportOf(thrown);
        const ours = isCheckpointError(thrown);
        const { attempt, heartbeatDetails } = context.info;
        const attempts = [...attemptsBefore(heartbeatDetails, attempt), endedAttempt(attempt, started, report)];
        throw ApplicationFailure.create({
          message: escapeControls(report.message.slice(0, MOST_CHARACTERS)),
          type: report.type,
          nonRetryable: ours && !thrown.retryable,
          details: [boundedDetails(report.details), { attempt, attempts }],
          ...(ours && thrown.retryAfterMs !== undefined ? { nextRetryDelay: thrown.retryAfterMs } : {}),
        });
      }
    },
  },
});
