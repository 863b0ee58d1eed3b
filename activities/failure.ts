/** The one place where our errors become Temporal's: an interceptor, as failure converters never see the class. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { isCheckpointError, reportOf } from '../src/errors.ts';
import { escapeControls } from '../src/model/text.ts';
import { boundedDetails } from '../src/pipeline/bounded.ts';
import { attemptsBefore, endedAttempt } from './attempts.ts';

/** Of a message; details have their own bound. */
const MOST_CHARACTERS = 10_000;

export const mapErrors: ActivityInterceptorsFactory = (context) => ({
  inbound: {
    async execute(input, next) {
      const started = new Date().toISOString();
      try {
        return await next(input);
      } catch (error) {
        if (error instanceof CancelledFailure || error instanceof ApplicationFailure) throw error;
        if (context.cancellationSignal.aborted) throw context.cancellationSignal.reason;
        const report = reportOf(error);
        const ours = isCheckpointError(error);
        const { attempt, heartbeatDetails } = context.info;
        const attempts = [...attemptsBefore(heartbeatDetails, attempt), endedAttempt(attempt, started, report)];
        throw ApplicationFailure.create({
          message: escapeControls(report.message.slice(0, MOST_CHARACTERS)),
          type: report.type,
          nonRetryable: ours && !error.retryable,
          details: [boundedDetails(report.details), { attempt, attempts }],
          ...(ours && error.retryAfterMs !== undefined ? { nextRetryDelay: error.retryAfterMs } : {}),
        });
      }
    },
  },
});
