/** A schedule as the server takes it, and what it starts. */
import { isGrpcServiceError, type ScheduleDescription, type ScheduleOptions, type ScheduleOverlapPolicy } from '@temporalio/client';
import { CheckpointConfigError, textOf } from '../errors.ts';
import { BATCH_WORKFLOW, type BatchInput } from '../pipeline/batch.ts';
import { PIPELINE_WORKFLOW, type PipelineInput } from '../pipeline/contract.ts';
import { OVERLAPS, secondsOf, TIMING_KEYS, type Overlap, type ScheduleInput, type Timing } from '../pipeline/schedule.ts';
import type { Work } from './start.ts';

/** gRPC's code for what the server finds wrong with a request. */
const INVALID_ARGUMENT = 3;

export function kindOf(workflowType: string | undefined): Work['kind'] | null {
  if (workflowType === PIPELINE_WORKFLOW) return 'pipeline';
  return workflowType === BATCH_WORKFLOW ? 'batch' : null;
}

export function workOf({ action }: ScheduleDescription): Work {
  const [input] = action.args ?? [];
  // The workflow type says what its argument is.
  return kindOf(action.workflowType) === 'batch'
    ? { kind: 'batch', input: input as BatchInput }
    : { kind: 'pipeline', input: input as PipelineInput };
}

export function timingOf(input: ScheduleInput): Timing {
  return Object.fromEntries(TIMING_KEYS.filter((key) => input[key] !== undefined).map((key) => [key, input[key]])) as Timing;
}

export function specOf({ cron, every, offset, time_zone: timezone, jitter }: Timing): ScheduleOptions['spec'] {
  const interval =
    every === undefined
      ? {}
      : {
          intervals: [{ every: milliseconds(every, 'every'), ...(offset === undefined ? {} : { offset: milliseconds(offset, 'offset') }) }],
        };
  return {
    ...(cron === undefined ? {} : { cronExpressions: typeof cron === 'string' ? [cron] : [...cron] }),
    ...interval,
    ...(timezone === undefined ? {} : { timezone }),
    ...(jitter === undefined ? {} : { jitter: milliseconds(jitter, 'jitter') }),
  };
}

export function milliseconds(given: string | number, key: string): number {
  return secondsOf(given, key, 0) * 1000;
}

export function policyOf(overlap: Overlap): ScheduleOverlapPolicy {
  if (!OVERLAPS.includes(overlap))
    throw new CheckpointConfigError(`\`overlap\` is one of ${OVERLAPS.join(', ')}; got ${JSON.stringify(overlap)}.`, 'overlap');
  // The names are Temporal's in small letters.
  return overlap.toUpperCase() as ScheduleOverlapPolicy;
}

/** What the server, or its client, finds wrong with a schedule is in its times. */
export function refused(error: unknown, { cron }: ScheduleInput): unknown {
  const { cause } = error as { readonly cause?: unknown };
  const invalid = [error, cause].find((one) => isGrpcServiceError(one) && one.code === INVALID_ARGUMENT);
  if (invalid === undefined && !(error instanceof TypeError)) return error;
  return new CheckpointConfigError(
    `The server does not take the schedule: ${textOf(invalid ?? error)}.`,
    cron === undefined ? 'every' : 'cron',
    {
      cause: error,
    },
  );
}
