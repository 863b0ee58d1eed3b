/** Turns the catalog into Temporal activities: one per stage type, and one that discards for each stage that can. */
import { activityInfo, Context } from '@temporalio/activity';
import { CheckpointError, type JsonObject } from '../src/errors.ts';
import { CONTEXT_LIMIT } from '../src/model/context.ts';
import { DISCARD_SUFFIX, type StageInput, type StageOutput } from '../src/pipeline/contract.ts';
import { parseOptions, type Catalog } from './catalog.ts';
import type { Services } from './services.ts';
import type { StageDefinition } from './stage.ts';

/** Between heartbeats of a stage that has nothing to report, in milliseconds; a fifth of the heartbeat timeout. */
const PULSE = 2000;

type Activity = (input: StageInput) => Promise<StageOutput | void>;

export function createActivities(catalog: Catalog, services: Services): Record<string, Activity> {
  const activities: Record<string, Activity> = {};
  for (const [type, stage] of catalog) {
    activities[type] = (input) => run(stage, input, services);
    if (stage.discard !== undefined) activities[`${type}${DISCARD_SUFFIX}`] = (input) => discard(stage, input, services);
  }
  return activities;
}

async function run(stage: StageDefinition, input: StageInput, services: Services): Promise<StageOutput> {
  const activity = Context.current();
  const resume = activityInfo().heartbeatDetails as JsonObject | undefined;
  let last: unknown = resume;
  const heartbeat = (progress: JsonObject): void => activity.heartbeat((last = progress));
  const pulse = setInterval(() => activity.heartbeat(last), PULSE);
  try {
    const options = parseOptions(stage, input.options, input.stage.index);
    const outcome = await stage.run({ ...input, options, services, signal: activity.cancellationSignal, resume, heartbeat });
    checkSize(stage.type, outcome.context);
    return { ...outcome, attempt: activityInfo().attempt };
  } finally {
    clearInterval(pulse);
  }
}

async function discard(stage: StageDefinition, input: StageInput, services: Services): Promise<void> {
  await stage.discard?.({ ...input, options: parseOptions(stage, input.options, input.stage.index), services });
}

function checkSize(type: string, context: unknown): void {
  const size = Buffer.byteLength(JSON.stringify(context));
  if (size <= CONTEXT_LIMIT) return;
  throw new CheckpointError(
    `${type} made a context of ${size} bytes; at most ${CONTEXT_LIMIT} may pass between stages. Long lists belong into the workspace.`,
    { retryable: false },
  );
}
