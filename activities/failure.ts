/** The one place where our errors become Temporal's: an interceptor, as failure converters never see the class. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { CheckpointError, isCheckpointError, reportOf, WORKER_STOPPED } from '../src/errors.ts';
import { escapeControls } from '../src/model/text.ts';
import { boundedDetails } from '../src/pipeline/bounded.ts';
import { attemptsBefore, endedAttempt } from './attempts.ts';

/** Of a message; details have their own bound. */
const MOST_CHARACTERS = 10_000;

const STOPPED = 'WORKER_SHUTDOWN';

/** By the SDK's reason: what has come over an attempt that says nothing of its stage. */
const FROM_OUTSIDE: Readonly<Record<string, string>> = {
  [STOPPED]: 'The worker was stopped',
  PAUSED: 'The activity was paused',
  RESET: 'The activity was reset',
};

/** What ended an attempt from outside, whatever it has thrown for that; null where nothing did that others are to read of. */
export function endedFromOutside({ aborted, reason }: AbortSignal): CheckpointError | null {
  if (!aborted || !(reason instanceof Error) || !Object.hasOwn(FROM_OUTSIDE, reason.message)) return null;
  const message = `${FROM_OUTSIDE[reason.message]} before this attempt had ended.`;
  return new CheckpointError(message, { cause: reason, ...(reason.message === STOPPED ? { details: { reason: WORKER_STOPPED } } : {}) });
}

/** The SDK's own words for a worker that is stopped would come without the attempts, and of a type that is no code of ours. */
function stoppedWorker(signal: AbortSignal): CheckpointError | null {
  const ended = endedFromOutside(signal);
  return ended?.details['reason'] === WORKER_STOPPED ? ended : null;
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
