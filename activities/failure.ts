/** The one place where our errors become Temporal's: an interceptor, as failure converters never see the class. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { isCheckpointError, reportOf } from '../src/errors.ts';

export const mapErrors: ActivityInterceptorsFactory = (context) => ({
  inbound: {
    async execute(input, next) {
      try {
        return await next(input);
      } catch (error) {
        if (error instanceof CancelledFailure || error instanceof ApplicationFailure) throw error;
        if (context.cancellationSignal.aborted) throw context.cancellationSignal.reason;
        const report = reportOf(error);
        const ours = isCheckpointError(error);
        throw ApplicationFailure.create({
          message: report.message,
          type: report.type,
          nonRetryable: ours && !error.retryable,
          details: [report.details, { attempt: context.info.attempt }],
          ...(ours && error.retryAfterMs !== undefined ? { nextRetryDelay: error.retryAfterMs } : {}),
        });
      }
    },
  },
});
