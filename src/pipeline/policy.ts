/** What a stage's settings come to over the pipeline's own and the defaults: retries, time, and what follows a failure. */
import type { OnError, PipelineInput, StageSpec } from './contract.ts';
import { isSink } from './stage-kinds.ts';

const DEFAULT_ATTEMPTS = 3;
const DEFAULT_TIMEOUT = 300;
/** Publishing and downloading are bounded by the heartbeat and by stalls, not by the size of the file. */
const LONG_TIMEOUT = 24 * 3600;

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
  return {
    timeout: secondsOf(pipeline, stage) * 1000,
    maximumAttempts:
      stage.retry?.maximum_attempts ?? stage.max_retries ?? pipeline.retry?.maximum_attempts ?? pipeline.max_retries ?? DEFAULT_ATTEMPTS,
    initialInterval,
    backoffCoefficient: retry.backoff ?? 2,
    // A stage's first wait may be above the pipeline's longest one.
    ...(retry.maximum_interval === undefined ? {} : { maximumInterval: Math.max(initialInterval, retry.maximum_interval * 1000) }),
  };
}

function secondsOf(pipeline: PipelineInput, stage: StageSpec): number {
  if (isDownload(stage)) return Math.max(LONG_TIMEOUT, stallOf(pipeline, stage) ?? 0);
  return stage.timeout ?? pipeline.timeout ?? (isSink(stage.type) ? LONG_TIMEOUT : DEFAULT_TIMEOUT);
}

/** Seconds without progress after which a download is given up; undefined for other stages, and where nothing is said. */
export function stallOf(pipeline: PipelineInput, stage: StageSpec): number | undefined {
  return isDownload(stage) ? (stage.timeout ?? pipeline.timeout) : undefined;
}

/** Without ranges it takes as long as all of the file does. */
function isDownload({ type }: StageSpec): boolean {
  return type === 'source.http';
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
