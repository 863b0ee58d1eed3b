/** Starting runs and learning how they ended: the errors that crossed Temporal come out as ours again. */
import {
  Client,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type Connection,
} from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { CheckpointConfigError, CheckpointNotFoundError, errorOf, type JsonObject } from '../errors.ts';
import { BATCH_WORKFLOW } from '../pipeline/batch.ts';
import {
  PIPELINE_WORKFLOW,
  RESOLVE_UPDATE,
  STATUS_QUERY,
  TASK_QUEUE,
  type PipelineInput,
  type PipelineResult,
  type Resolution,
  type Resolved,
  type TransferProgress,
} from '../pipeline/contract.ts';
import { ATTRIBUTES_MEMO, presentAttributes, SEARCH_ATTRIBUTES, startAttributes } from '../pipeline/search-attributes.ts';
import { startDetails } from '../pipeline/start-details.ts';
import { attributesNote, registeredAttributes, type Registered } from './temporal/search-attributes.ts';

export interface StartedRun {
  readonly workflowId: string;
  readonly runId: string;
}

/** Waits this long for a query: with no worker up it would hang. */
const QUERY_DEADLINE = 10_000;
/** And this long for an answer to be taken: a worker looks at changed options. */
const ANSWER_DEADLINE = 60_000;

export function clientOf(connection: Connection, namespace: string): Client {
  return new Client({ connection, namespace });
}

/** When the oldest open workflow of the namespace started, the runs that it continues included, in milliseconds since the epoch; null: none is open. */
export async function oldestOpenRun(client: Client): Promise<number | null> {
  let oldest: number | null = null;
  for await (const { startTime, type, workflowId, runId } of client.workflow.list({ query: "ExecutionStatus = 'Running'" })) {
    const began = type === BATCH_WORKFLOW ? await firstStart(client, workflowId, runId) : startTime.getTime();
    oldest = Math.min(oldest ?? Infinity, began);
  }
  return oldest;
}

/** A batch still reads what its first run has listed. */
async function firstStart(client: Client, workflowId: string, runId: string): Promise<number> {
  const { raw, startTime } = await client.workflow.getHandle(workflowId, runId).describe();
  const first = raw.workflowExecutionInfo?.firstRunId;
  if (first === runId) return startTime.getTime();
  if (first === undefined || first === null || first === '') return 0;
  // Where the first run is forgotten, nobody knows how old it is.
  const known = await client.workflow
    .getHandle(workflowId, first)
    .describe()
    .catch(() => null);
  return known === null ? 0 : known.startTime.getTime();
}

/**
 * Starts a run; a running one with that id is a `CheckpointConfigError`. Which search attributes the server has goes into the memo,
 * as the workflow must set no others; `note` takes one line about those that it lacks.
 */
export async function startPipeline(
  client: Client,
  workflowId: string,
  input: PipelineInput,
  note: (line: string) => void = () => undefined,
): Promise<StartedRun> {
  // A server that does not tell (Temporal Cloud has no such service) is taken for one without.
  const registered: Registered | null = await registeredAttributes(client.connection, client.options.namespace).catch(() => null);
  const present = registered?.present ?? [];
  const lacking = registered === null ? null : attributesNote(registered);
  // The table says which value has which type.
  const attributes = presentAttributes(startAttributes(input), present).map(
    ([name, value]) => ({ key: defineSearchAttributeKey(name, SEARCH_ATTRIBUTES[name]), value }) as SearchAttributePair,
  );
  try {
    const handle = await client.workflow.start(PIPELINE_WORKFLOW, {
      workflowId,
      taskQueue: TASK_QUEUE,
      args: [input],
      staticSummary: `${input.name ?? 'pipeline'}: ${input.stages.map(({ type }) => type).join(' → ')}`.slice(0, 200),
      staticDetails: startDetails(input),
      memo: { [ATTRIBUTES_MEMO]: present },
      typedSearchAttributes: attributes,
      workflowIdConflictPolicy: 'FAIL',
    });
    if (lacking !== null) note(lacking);
    return { workflowId, runId: handle.firstExecutionRunId };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new CheckpointConfigError(
      `A run with the id ${workflowId} is going on. Look at it with \`ckpt status ${workflowId}\`, or start this one under another \`--id\`.`,
      undefined,
      { cause: error, details: { workflow_id: workflowId } },
    );
  }
}

/** Waits for the end of a run; a failed or cancelled one gives its result all the same, with `error` set. */
export async function waitForResult(client: Client, { workflowId, runId }: StartedRun): Promise<PipelineResult> {
  const handle = client.workflow.getHandle(workflowId, runId === '' ? undefined : runId);
  try {
    return (await handle.result()) as PipelineResult;
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    const cause = error.cause;
    if (cause instanceof ApplicationFailure && cause.details?.[1] !== undefined) return cause.details[1] as PipelineResult;
    const empty = { workflow_id: workflowId, run_id: runId, stages: [], outputs: [], metadata: {}, waiting: null } as const;
    if (cause instanceof CancelledFailure) {
      const known = await queryStatus(client, workflowId).catch(() => null);
      return known !== null && known.status === 'cancelled'
        ? known
        : { ...empty, status: 'cancelled', error: { type: 'CheckpointError', message: 'The run was cancelled.', details: {} } };
    }
    const details = cause instanceof ApplicationFailure ? ((cause.details?.[0] as JsonObject | undefined) ?? {}) : {};
    const type = cause instanceof ApplicationFailure ? (cause.type ?? 'CheckpointError') : 'CheckpointError';
    return { ...empty, status: 'failed', error: { type, message: cause?.message ?? error.message, details } };
  }
}

/** The `status` query; `CheckpointNotFoundError` where there is no such run. */
export async function queryStatus(client: Client, workflowId: string): Promise<PipelineResult> {
  try {
    return await client.withDeadline(Date.now() + QUERY_DEADLINE, () =>
      client.workflow.getHandle(workflowId).query<PipelineResult>(STATUS_QUERY),
    );
  } catch (error) {
    throw notFound(error, workflowId);
  }
}

/** Answers a run that waits. Throws what the run says of the answer, as the same class: `CheckpointConfigError` where none is waited for. */
export async function resolveFailure(client: Client, workflowId: string, resolution: Resolution): Promise<Resolved> {
  try {
    return await client.withDeadline(Date.now() + ANSWER_DEADLINE, () =>
      client.workflow.getHandle(workflowId).executeUpdate<Resolved, [Resolution]>(RESOLVE_UPDATE, { args: [resolution] }),
    );
  } catch (error) {
    if (!(error instanceof WorkflowUpdateFailedError)) throw notFound(error, workflowId);
    const { cause } = error;
    const details = cause instanceof ApplicationFailure ? (cause.details?.[0] as JsonObject | undefined) : undefined;
    const type = cause instanceof ApplicationFailure ? (cause.type ?? '') : '';
    throw errorOf({ type, message: cause?.message ?? error.message, details: details ?? {} }, error);
  }
}

export async function cancelRun(client: Client, workflowId: string): Promise<void> {
  await client.workflow
    .getHandle(workflowId)
    .cancel()
    .catch((error: unknown) => Promise.reject(notFound(error, workflowId)));
}

/** Progress of the transfer under way, from the last heartbeat of a pending activity; null where there is none. */
export async function transferProgress(client: Client, workflowId: string): Promise<TransferProgress | null> {
  const description = await client.workflow.getHandle(workflowId).describe();
  const data = description.raw.pendingActivities?.[0]?.heartbeatDetails?.payloads?.[0]?.data;
  if (data === undefined || data === null) return null;
  const details = JSON.parse(Buffer.from(data).toString('utf8')) as Partial<TransferProgress> | null;
  return typeof details?.offset === 'number' && typeof details.size === 'number' ? { offset: details.offset, size: details.size } : null;
}

/** Identities of the workers that have asked for work in the last minutes. */
export async function pollersOf(connection: Connection, namespace: string, name: string = TASK_QUEUE): Promise<readonly string[]> {
  // 2: of activities.
  const { pollers } = await connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name }, taskQueueType: 2 });
  return (pollers ?? []).map(({ identity }) => identity ?? '');
}

function notFound(error: unknown, workflowId: string): unknown {
  if (!(error instanceof WorkflowNotFoundError)) return error;
  return new CheckpointNotFoundError(`There is no run ${workflowId} on this server, or it has ended long ago.`, workflowId, {
    cause: error,
  });
}
