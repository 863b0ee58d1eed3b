/** Whether a query failed because no worker answered it, by what the server or the connection says. */
import { isGrpcCancelledError, isGrpcDeadlineError, isGrpcServiceError } from '@temporalio/client';

/** Of gRPC. */
const FAILED_PRECONDITION = 9;
/** No worker has been there for a while; none has yet taken the first task; those that take it fail. */
const NOT_READY = /no poller|not ready|not scheduled|failed state/i;

/** A call that runs into its deadline ends now and then as a cancelled one. */
export function isUnanswered(error: unknown): boolean {
  return (
    isGrpcDeadlineError(error) || isGrpcCancelledError(error) || isNotReady((error as { readonly cause?: unknown } | undefined)?.cause)
  );
}

function isNotReady(cause: unknown): boolean {
  return isGrpcServiceError(cause) && cause.code === FAILED_PRECONDITION && NOT_READY.test(cause.details);
}
