/** Turns the catalog into Temporal activities: one per stage type, one that discards for each stage that can, and the run's own. */
import { activityInfo, Context } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';
import { reportOf, type JsonObject } from '../src/errors.ts';
import { turnOf } from '../src/io/turn.ts';
import {
  CHECK_OPTIONS_ACTIVITY,
  DISCARD_SUFFIX,
  PREFLIGHT_ACTIVITY,
  REPORT_ACTIVITY,
  type PreflightInput,
  type PreflightOutput,
  type ReportInput,
  type ReportOutput,
  type StageInput,
  type StageOutput,
} from '../src/pipeline/contract.ts';
import { attemptsBefore, endedAttempt, isLastAttempt, lostAttempt, progressIn, withAttempts } from './attempts.ts';
import { batchActivities, type BatchActivities } from './batch/index.ts';
import { parseOptions, stageOfType, type Catalog } from './catalog.ts';
import { withinLimit } from './context-size.ts';
import { endedFromOutside } from './failure.ts';
import { movedBytes } from './moved-bytes.ts';
import { checkLocations } from './option-checks.ts';
import { preflight } from './preflight.ts';
import { PULSE, withPulse } from './pulse.ts';
import { checkedOutcome } from './outcome.ts';
import { leaveReports } from './report.ts';
import { endedBy, inTurn, type Services } from './services.ts';
import type { StageCall, StageDefinition } from './stage.ts';
import { recipeOf } from './unchanged.ts';

/** Milliseconds for the server to say whether a run is going on. */
const ANSWER = 10_000;

type Activity = (input: StageInput) => Promise<StageOutput | void>;

/** What `pipeline.check_options` takes. */
type StageOptions = Pick<StageInput, 'options'> & StageInput['stage'];

interface RunActivities {
  readonly [PREFLIGHT_ACTIVITY]: (input: PreflightInput) => Promise<PreflightOutput>;
  readonly [REPORT_ACTIVITY]: (input: ReportInput) => Promise<ReportOutput>;
  readonly [CHECK_OPTIONS_ACTIVITY]: (input: StageOptions) => Promise<void>;
}

export function createActivities(catalog: Catalog, services: Services): Record<string, Activity> & RunActivities & BatchActivities {
  const run: RunActivities = {
    [PREFLIGHT_ACTIVITY]: (input) => withPulse((signal) => preflight(catalog, services, input, signal)),
    [REPORT_ACTIVITY]: (input) => leaveReports(services, input),
    [CHECK_OPTIONS_ACTIVITY]: async ({ index, type, options }) => {
      const definition = stageOfType(catalog, type, index);
      parseOptions(definition, options, index);
      checkLocations(definition, options, index);
    },
  };
  return { ...stageActivities(catalog, services), ...run, ...batchActivities(catalog, services) } as Record<string, Activity> &
    RunActivities &
    BatchActivities;
}

function stageActivities(catalog: Catalog, services: Services): Record<string, Activity> {
  const activities: Record<string, Activity> = {};
  for (const [type, stage] of catalog) {
    activities[type] = (input) => run(stage, input, services, (plan) => recipeOf(catalog, services, input, plan));
    if (stage.discard !== undefined) activities[`${type}${DISCARD_SUFFIX}`] = (input) => withPulse(() => discard(stage, input, services));
  }
  return activities;
}

async function run(
  stage: StageDefinition,
  input: StageInput,
  services: Services,
  recipe: StageCall<unknown>['recipe'],
): Promise<StageOutput> {
  const activity = Context.current();
  const { attempt, heartbeatDetails, retryPolicy } = activityInfo();
  const started = new Date().toISOString();
  const before = attemptsBefore(heartbeatDetails, attempt);
  const resume = progressIn(heartbeatDetails);
  let last = resume;
  const beat = (progress: JsonObject | undefined, now = lostAttempt(attempt, started)): void =>
    activity.heartbeat(withAttempts((last = progress), [...before, now]));
  const moved = movedBytes(activity.metricMeter, typeof resume?.['offset'] === 'number' ? resume['offset'] : 0);
  const pulse = setInterval(() => beat(last), PULSE);
  const turn = turnOf(services.longWork, activity.cancellationSignal, input.stage.index);
  try {
    const options = parseOptions(stage, input.options, input.stage.index);
    const returned = await stage.run({
      ...input,
      options,
      services: inTurn(turn, endedBy(activity.cancellationSignal, services)),
      turn,
      recipe,
      signal: activity.cancellationSignal,
      last: isLastAttempt(attempt, retryPolicy),
      resume,
      heartbeat: (progress) => {
        moved.at(progress.offset);
        beat(progress);
      },
    });
    const outcome = checkedOutcome(stage.type, returned);
    const context = withinLimit(stage.type, outcome.context);
    moved.published(outcome.context.outputs.slice(input.context.outputs.length));
    return { ...outcome, context, attempt, attempts: [...before, endedAttempt(attempt, started, null)] };
  } catch (error) {
    // For the attempt after this one, wherever it is made.
    beat(last, endedAttempt(attempt, started, reportOf(endedFromOutside(activity.cancellationSignal) ?? error)));
    // Where the run itself has gone nobody comes after this attempt, and nobody else clears up.
    if (await isOrphaned(activity.cancellationSignal)) await discard(stage, input, services).catch(() => undefined);
    throw error;
  } finally {
    clearInterval(pulse);
    turn.giveBack();
  }
}

/** Whether Temporal knows the attempt no more because its run was terminated; not where another attempt has begun, or nobody can tell. */
async function isOrphaned({ aborted, reason }: AbortSignal): Promise<boolean> {
  if (!aborted || !(reason instanceof Error) || reason.message !== 'NOT_FOUND') return false;
  const { client } = Context.current();
  const { workflowExecution } = activityInfo();
  if (workflowExecution === undefined) return false;
  const { workflowId, runId } = workflowExecution;
  return client
    .withDeadline(Date.now() + ANSWER, () => client.workflow.getHandle(workflowId, runId).describe())
    .then(
      ({ status }) => status.name !== 'RUNNING',
      (error: unknown) => error instanceof WorkflowNotFoundError,
    );
}

async function discard(stage: StageDefinition, input: StageInput, services: Services): Promise<void> {
  await stage.discard?.({ ...input, options: parseOptions(stage, input.options, input.stage.index), services });
}
