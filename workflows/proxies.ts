/** How activities are called: timeouts and retries of every stage, in one place. */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import { FINAL_CODES } from '../src/errors.ts';
import { DISCARD_SUFFIX, type PipelineInput, type StageInput, type StageOutput, type StageSpec } from '../src/pipeline/contract.ts';

const DEFAULT_ATTEMPTS = 3;
const DEFAULT_TIMEOUT_SECONDS = 300;
/** Publishing is bounded by its heartbeat, not by the size of the file. */
const SINK_TIMEOUT_SECONDS = 24 * 3600;
/** A worker that says nothing for this long is taken for dead, and the stage goes on elsewhere. */
const HEARTBEAT_TIMEOUT = '10s';

type Activities = Record<string, (input: StageInput) => Promise<StageOutput>>;

/** Runs the activity named as the stage's type. */
export function runStage(pipeline: PipelineInput, stage: StageSpec, summary: string, input: StageInput): Promise<StageOutput> {
  const fallback = stage.type.startsWith('sink.') ? SINK_TIMEOUT_SECONDS : DEFAULT_TIMEOUT_SECONDS;
  const activities = proxyActivities<Activities>({
    startToCloseTimeout: (stage.timeout ?? pipeline.timeout ?? fallback) * 1000,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    summary,
    // Unset would act as TRY_CANCEL: clean-up would begin while the activity still writes.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumAttempts: stage.max_retries ?? pipeline.max_retries ?? DEFAULT_ATTEMPTS,
      // NotFoundError is what a worker without such an activity answers.
      nonRetryableErrorTypes: [...FINAL_CODES, 'NotFoundError'],
    },
  });
  return activities[stage.type]!(input);
}

/** Removes what a sink that failed for good or was cancelled may have left behind. */
export async function discardStage(stage: StageSpec, input: StageInput): Promise<void> {
  const activities = proxyActivities<Activities>({
    startToCloseTimeout: '60s',
    scheduleToCloseTimeout: '5m',
    summary: `remove what ${stage.type} left behind`,
    retry: { maximumAttempts: 5, nonRetryableErrorTypes: [...FINAL_CODES, 'NotFoundError'] },
  });
  await activities[`${stage.type}${DISCARD_SUFFIX}`]!(input);
}
