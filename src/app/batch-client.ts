/** Starting batches, and learning how they stand and how they ended. */
import { WorkflowExecutionAlreadyStartedError, WorkflowFailedError, WorkflowNotFoundError, type Client } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { CheckpointConfigError, CheckpointNotFoundError, CheckpointSourceError } from '../errors.ts';
import { BATCH_WORKFLOW, PAUSE_SIGNAL, RESUME_SIGNAL, type BatchInput, type BatchResult } from '../pipeline/batch.ts';
import { STATUS_QUERY, TASK_QUEUE } from '../pipeline/contract.ts';
import { ATTRIBUTES_MEMO } from '../pipeline/search-attributes.ts';
import { registeredAttributes } from './temporal/search-attributes.ts';

/** Waits this long for a query: with no worker up it would hang. */
const QUERY_DEADLINE = 10_000;

/** Starts a batch; a running one with that id is a `CheckpointConfigError`. */
export async function startBatch(client: Client, workflowId: string, input: BatchInput): Promise<void> {
  // A server that does not tell is taken for one without.
  const registered = await registeredAttributes(client.connection, client.options.namespace).catch(() => null);
  try {
    await client.workflow.start(BATCH_WORKFLOW, {
      workflowId,
      taskQueue: TASK_QUEUE,
      args: [input],
      staticSummary: `${input.name ?? 'batch'}: ${input.pipeline.stages.map(({ type }) => type).join(' → ')}`.slice(0, 200),
      memo: { [ATTRIBUTES_MEMO]: registered?.present ?? [] },
      workflowIdConflictPolicy: 'FAIL',
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new CheckpointConfigError(
      `A batch with the id ${workflowId} is going on. Look at it with \`ckpt batch status ${workflowId}\`, or start this one under another \`--id\`.`,
      undefined,
      { cause: error, details: { workflow_id: workflowId } },
    );
  }
}

/** Waits for the end of a batch; a failed or cancelled one gives its result all the same. */
export async function waitForBatch(client: Client, workflowId: string): Promise<BatchResult> {
  try {
    return (await client.workflow.getHandle(workflowId).result()) as BatchResult;
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw notFound(error, workflowId);
    const { cause } = error;
    // The second detail is the whole result.
    if (cause instanceof ApplicationFailure && cause.details?.[1] !== undefined) return cause.details[1] as BatchResult;
    if (cause instanceof CancelledFailure) return queryBatch(client, workflowId);
    throw new CheckpointSourceError(`The batch ${workflowId} has ended without a result: ${cause?.message ?? error.message}.`, workflowId, {
      cause: error,
      retryable: false,
    });
  }
}

/** The `status` query; `CheckpointNotFoundError` where there is no such batch. */
export async function queryBatch(client: Client, workflowId: string): Promise<BatchResult> {
  return client
    .withDeadline(Date.now() + QUERY_DEADLINE, () => client.workflow.getHandle(workflowId).query<BatchResult>(STATUS_QUERY))
    .catch((error: unknown) => Promise.reject(notFound(error, workflowId)));
}

export async function tellBatch(client: Client, workflowId: string, what: 'pause' | 'resume' | 'cancel'): Promise<void> {
  const handle = client.workflow.getHandle(workflowId);
  const told = what === 'cancel' ? handle.cancel() : handle.signal(what === 'pause' ? PAUSE_SIGNAL : RESUME_SIGNAL);
  await told.catch((error: unknown) => Promise.reject(notFound(error, workflowId)));
}

/** The input of a batch that runs what failed in another one, which has ended. */
export async function failedOf(client: Client, workflowId: string): Promise<BatchInput> {
  const { results } = await waitForBatch(client, workflowId);
  if (results === null) throw new CheckpointConfigError(`The batch ${workflowId} has left no results, so nobody knows what failed in it.`);
  const handle = client.workflow.getHandle(workflowId);
  const history = await handle.fetchHistory();
  const payloads = history.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
  const { carried: _carried, results: _results, ...input } = JSON.parse(Buffer.from(payloads ?? []).toString('utf8')) as BatchInput;
  return { ...input, items: { failed_in: results } };
}

function notFound(error: unknown, workflowId: string): unknown {
  if (!(error instanceof WorkflowNotFoundError)) return error;
  return new CheckpointNotFoundError(`There is no batch ${workflowId} going on on this server.`, workflowId, { cause: error });
}
