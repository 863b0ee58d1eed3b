/** What a stage's settings come to over the pipeline's own and the defaults: retries, time, and what follows a failure. */
import type { OnError, PipelineInput, StageSpec } from './contract.ts';

const DEFAULT_ATTEMPTS = 3;
const DEFAULT_TIMEOUT = 300;
/** Publishing is bounded by its heartbeat, not by the size of the file. */
const SINK_TIMEOUT = 24 * 3600;

/** Times in milliseconds. */
export interface Policy {
  readonly timeout: number;
  readonly maximumAttempts: number;
  readonly initialInterval: number;
  readonly backoffCoefficient: number;
  readonly maximumInterval?: number;
}

/** The nearer setting counts: the stage's before the pipeline's, and on one level `retry.maximum_attempts` before `max_retries`. */
export function policyOf(pipeline: PipelineInput, stage: StageSpec): Policy {
  const retry = { ...pipeline.retry, ...stage.retry };
  const initialInterval = (retry.initial_interval ?? 1) * 1000;
  const timeout = stage.timeout ?? pipeline.timeout ?? (stage.type.startsWith('sink.') ? SINK_TIMEOUT : DEFAULT_TIMEOUT);
  return {
    timeout: timeout * 1000,
    maximumAttempts:
      stage.retry?.maximum_attempts ?? stage.max_retries ?? pipeline.retry?.maximum_attempts ?? pipeline.max_retries ?? DEFAULT_ATTEMPTS,
    initialInterval,
    backoffCoefficient: retry.backoff ?? 2,
    // A stage's first wait may be above the pipeline's longest one.
    ...(retry.maximum_interval === undefined ? {} : { maximumInterval: Math.max(initialInterval, retry.maximum_interval * 1000) }),
  };
}

export function onErrorOf(pipeline: PipelineInput, stage: StageSpec): OnError {
  return ownOnError(stage) ?? ownOnError(pipeline) ?? 'fail';
}

function ownOnError({
  on_error: onError,
  continue_on_error: continues,
}: Pick<StageSpec, 'on_error' | 'continue_on_error'>): OnError | undefined {
  return onError ?? (continues === undefined ? undefined : continues ? 'continue' : 'fail');
}
