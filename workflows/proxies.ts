/** How activities are called: timeouts and retries of every stage, in one place. */
import { RetryState } from '@temporalio/common';
import {
  ActivityCancellationType,
  ActivityFailure,
  CancelledFailure,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
  type ActivityInterfaceFor,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { BatchActivities } from '../activities/batch/index.ts';
import { FINAL_CODES, type JsonObject } from '../src/errors.ts';
import {
  CHECK_OPTIONS_ACTIVITY,
  DISCARD_SUFFIX,
  PREFLIGHT_ACTIVITY,
  REPORT_ACTIVITY,
  type PipelineInput,
  type PreflightInput,
  type PreflightOutput,
  type ReportInput,
  type ReportOutput,
  type StageInput,
  type StageOutput,
  type StageSpec,
} from '../src/pipeline/contract.ts';
import { policyOf } from '../src/pipeline/policy.ts';
import { isSink } from '../src/pipeline/stage-kinds.ts';

/** A worker that says nothing for this long is taken for dead, and the stage goes on elsewhere. */
const HEARTBEAT_TIMEOUT = '10s';
/** Of stages that read headers and make plans, which hold a worker's main thread: for seconds, where they are as large as they may be. */
const HEARTBEAT_TIMEOUT_OF_HEADERS = '30s';
/** Nobody is answered while a step of a workflow takes its time, and the server gives it ten seconds. */
const QUICK = '2s';
/** NotFoundError is what a worker without such an activity answers. */
const FINAL = [...FINAL_CODES, 'NotFoundError'];

/**
 * Activities that end as cancelled where it was the cancellation that ended them.
 *
 * The server makes no new attempt of an activity that is to be cancelled: one whose worker is lost meanwhile ends as timed out, and one
 * whose attempt fails with that failure, though either would have been tried again.
 */
function activitiesOf<T>(options: ActivityOptions): ActivityInterfaceFor<T> {
  type Called = Record<string, (...input: unknown[]) => Promise<unknown>>;
  const called = proxyActivities(options) as Called;
  const get = (_: Called, name: string): Called[string] => {
    return (...input) => called[name]!(...input).catch(cancelledOr);
  };
  return new Proxy<Called>({}, { get }) as ActivityInterfaceFor<T>;
}

function cancelledOr(thrown: unknown): never {
  if (!(thrown instanceof ActivityFailure) || thrown.retryState !== RetryState.CANCEL_REQUESTED) throw thrown;
  throw new CancelledFailure(`${thrown.activityType} was cancelled.`, [], thrown);
}

type Activities = Record<string, (input: StageInput) => Promise<StageOutput>>;

/** Runs the activity named as the stage's type; `queue` null: on the run's own task queue. */
export function runStage(
  pipeline: PipelineInput,
  stage: StageSpec,
  { summary, queue }: { readonly summary: string; readonly queue: string | null },
  input: StageInput,
): Promise<StageOutput> {
  const { timeout, ...retry } = policyOf(pipeline, stage);
  const activities = activitiesOf<Activities>({
    startToCloseTimeout: timeout,
    heartbeatTimeout: isSink(stage.type) ? HEARTBEAT_TIMEOUT : HEARTBEAT_TIMEOUT_OF_HEADERS,
    summary,
    ...(queue === null ? {} : { taskQueue: queue }),
    // Unset would act as TRY_CANCEL: clean-up would begin while the activity still writes.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { ...retry, nonRetryableErrorTypes: FINAL },
  });
  return activities[stage.type]!(input);
}

/** Removes what a sink that failed for good or was cancelled may have left behind. */
export async function discardStage(stage: StageSpec, input: StageInput): Promise<void> {
  const activities = activitiesOf<Activities>({
    startToCloseTimeout: '60s',
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    scheduleToCloseTimeout: '5m',
    summary: `remove what ${stage.type} left behind`,
    retry: { maximumAttempts: 5, nonRetryableErrorTypes: FINAL },
  });
  await activities[`${stage.type}${DISCARD_SUFFIX}`]!(input);
}

type Preflight = Record<typeof PREFLIGHT_ACTIVITY, (input: PreflightInput) => Promise<PreflightOutput>>;

/**
 * Everything that can be known to be wrong before the first stage.
 *
 * Mostly that is known in milliseconds, and changes nothing: so it is asked as a part of the workflow's own first step, which the server
 * need not hear of. A place that does not answer as fast is asked as any stage is, so that the step does not wait for it.
 */
export async function preflight(input: PreflightInput): Promise<PreflightOutput> {
  const summary = 'options, sources, target, destination, workspace';
  const cancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
  const here = proxyLocalActivities<Preflight>({ startToCloseTimeout: QUICK, summary, cancellationType, retry: { maximumAttempts: 1 } });
  try {
    return await here[PREFLIGHT_ACTIVITY](input);
  } catch (thrown) {
    if (isCancellation(thrown)) throw thrown;
  }
  const anywhere = activitiesOf<Preflight>({
    startToCloseTimeout: '60s',
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    summary,
    cancellationType,
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumAttempts: 2, nonRetryableErrorTypes: FINAL },
  });
  return anywhere[PREFLIGHT_ACTIVITY](input);
}

/** Reports beside the outputs. */
export function leaveReports(input: ReportInput): Promise<ReportOutput> {
  const activities = activitiesOf<Record<string, (input: ReportInput) => Promise<ReportOutput>>>({
    startToCloseTimeout: '60s',
    // Nobody waits for a report longer than this: the outputs are there.
    scheduleToCloseTimeout: '3m',
    summary: 'reports beside the outputs',
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumAttempts: 3, nonRetryableErrorTypes: FINAL },
  });
  return activities[REPORT_ACTIVITY]!(input);
}

/** The stage's own schema over changed options; local, as it touches nothing. */
export async function checkOptions(input: { readonly index: number; readonly type: string; readonly options: JsonObject }): Promise<void> {
  const activities = proxyLocalActivities<Record<string, (input: unknown) => Promise<void>>>({
    startToCloseTimeout: '10s',
    retry: { maximumAttempts: 3, nonRetryableErrorTypes: FINAL },
  });
  await activities[CHECK_OPTIONS_ACTIVITY]!(input);
}

/** What a batch calls is tried until it succeeds, or can never do so: a store that is away for an hour ends no batch of a week. */
const PATIENT = {
  // Without it, what a lost worker or server had taken would be missed only after `startToCloseTimeout`.
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', nonRetryableErrorTypes: FINAL },
} as const;
export const files = activitiesOf<BatchActivities>({ startToCloseTimeout: '10m', ...PATIENT });
/** Listing a million objects, and putting the results of as many together, takes minutes to hours. */
export const listing = activitiesOf<BatchActivities>({ startToCloseTimeout: '12h', ...PATIENT });
/** A quarter of an hour of attempts, however long each takes: results that are kept from their place have another in the workspace. */
export const placing = activitiesOf<BatchActivities>({
  startToCloseTimeout: '12h',
  ...PATIENT,
  retry: { ...PATIENT.retry, maximumAttempts: 20 },
});
/** The same of a batch that is cancelled: whoever has cancelled it waits for its end. */
export const placingSoon = activitiesOf<BatchActivities>({
  startToCloseTimeout: '2m',
  scheduleToCloseTimeout: '2m',
  ...PATIENT,
  retry: { ...PATIENT.retry, maximumAttempts: 3 },
});
/** Nobody waits for a report longer than this: the results are there. */
export const reporting = activitiesOf<BatchActivities>({
  startToCloseTimeout: '5m',
  scheduleToCloseTimeout: '15m',
  ...PATIENT,
  summary: 'report beside the results',
  retry: { ...PATIENT.retry, maximumAttempts: 3 },
});
/** An attempt that has waited for an hour is made anew, whatever it hangs on. */
export const awaiting = activitiesOf<BatchActivities>({ startToCloseTimeout: '1h', ...PATIENT });
