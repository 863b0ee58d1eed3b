/** Starting batches, and learning how they stand and how they ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  isGrpcServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  type Client,
} from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { CheckpointConfigError, CheckpointNotFoundError, CheckpointSourceError } from '../errors.ts';
import { BATCH_WORKFLOW, PAUSE_SIGNAL, RESULT_MEMO, RESUME_SIGNAL, type BatchInput, type BatchResult } from '../pipeline/batch.ts';
import { STATUS_QUERY, TASK_QUEUE } from '../pipeline/contract.ts';
import { checkBatchId } from '../pipeline/batch-document.ts';
import { ATTRIBUTES_MEMO, presentAttributes, SEARCH_ATTRIBUTES } from '../pipeline/search-attributes.ts';
import { within } from '../pipeline/text.ts';
import { registeredAttributes } from './temporal/search-attributes.ts';

/** Waits this long for a query: with no worker up it would hang. */
const QUERY_DEADLINE = 10_000;
/** Bytes: Temporal refuses 2 MiB, and the batch hands itself on with more than it began with. */
const INPUT_MOST = 1.5 * 2 ** 20;
/** Milliseconds that a server may be away before whoever waits gives up, and between looks. */
const AWAY_LONGEST = 600_000;
const AWAY_PAUSE = 2000;
/** Codes of gRPC: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE. */
const AWAY_CODES = [1, 4, 14];

/** Starts a batch; a running one with that id is a `CheckpointConfigError`. */
export async function startBatch(client: Client, workflowId: string, input: BatchInput): Promise<void> {
  checkBatchId(workflowId);
  const size = Buffer.byteLength(JSON.stringify(input));
  if (size > INPUT_MOST)
    throw new CheckpointConfigError(
      `The batch document comes to ${size} bytes; a workflow begins with at most ${INPUT_MOST}. Put the items into a \`manifest\`.`,
      'items',
    );
  // A server that does not tell is taken for one without.
  const registered = await registeredAttributes(client.connection, client.options.namespace).catch(() => null);
  const present = registered?.present ?? [];
  try {
    await client.workflow.start(BATCH_WORKFLOW, {
      workflowId,
      taskQueue: TASK_QUEUE,
      args: [input],
      staticSummary: within(`${input.name ?? 'batch'}: ${input.pipeline.stages.map(({ type }) => type).join(' → ')}`, 200),
      memo: { [ATTRIBUTES_MEMO]: present },
      // The table says which value has which type.
      typedSearchAttributes: presentAttributes({ CheckpointStatus: 'running', CheckpointBatch: workflowId }, present).map(
        ([name, value]) => ({ key: defineSearchAttributeKey(name, SEARCH_ATTRIBUTES[name]), value }) as SearchAttributePair,
      ),
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

/** Waits for the end of a batch, also while its server is away for a while; a failed or cancelled one gives its result all the same. */
export async function waitForBatch(client: Client, workflowId: string): Promise<BatchResult> {
  for (let since = Date.now(); ; await sleep(AWAY_PAUSE)) {
    const asked = Date.now();
    try {
      return await resultOf(client, workflowId);
    } catch (error) {
      if (!isServerAway(error)) throw error;
      // It had answered for a while: the server was up.
      if (Date.now() - asked > AWAY_LONGEST) since = Date.now();
      if (Date.now() - since > AWAY_LONGEST) throw error;
    }
  }
}

async function resultOf(client: Client, workflowId: string): Promise<BatchResult> {
  try {
    return (await client.workflow.getHandle(workflowId).result()) as BatchResult;
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw notFound(error, workflowId);
    const { cause } = error;
    // The second detail is the whole result.
    if (cause instanceof ApplicationFailure && cause.details?.[1] !== undefined) return cause.details[1] as BatchResult;
    if (cause instanceof CancelledFailure) {
      const { memo } = await client.workflow.getHandle(workflowId).describe();
      const left = memo?.[RESULT_MEMO];
      if (left !== undefined) return left as BatchResult;
    }
    throw new CheckpointSourceError(
      `The batch ${workflowId} has ended without a result: ${cause?.message ?? error.message}. Run it again: what was published is then unchanged.`,
      workflowId,
      { cause: error, retryable: false },
    );
  }
}

/** How a batch stands, or how it has ended: of one that has, no worker is asked. */
export async function lookAtBatch(client: Client, workflowId: string): Promise<BatchResult> {
  const { status } = await client.workflow
    .getHandle(workflowId)
    .describe()
    .catch((error: unknown) => Promise.reject(notFound(error, workflowId)));
  return status.name === 'RUNNING' ? queryBatch(client, workflowId) : resultOf(client, workflowId);
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

function isServerAway(error: unknown): boolean {
  const { cause } = error as { readonly cause?: unknown };
  return [error, cause].some((one) => isGrpcServiceError(one) && AWAY_CODES.includes(one.code));
}

function notFound(error: unknown, workflowId: string): unknown {
  if (!(error instanceof WorkflowNotFoundError)) return error;
  return new CheckpointNotFoundError(`There is no batch ${workflowId} on this server, or it has ended long ago.`, workflowId, {
    cause: error,
  });
}
