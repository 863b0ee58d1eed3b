/**
 * The ends of children that an earlier run of the batch has started.
 *
 * Invariant: no call waits for ever, as each has a time limit; what fails here is tried again by Temporal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { WorkflowFailedError, WorkflowNotFoundError, type Client } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { mapAtOnce } from '../../src/io/at-once.ts';
import { briefReport, type Awaited, type Ending } from '../../src/pipeline/batch.ts';
import type { PipelineResult } from '../../src/pipeline/contract.ts';
import type { Child } from './index.ts';

/** Milliseconds between looks, growing from the first to the last as long as nothing ends. */
const FIRST_LOOK = 500;
const LAST_LOOK = 10_000;
/** Milliseconds for one question. */
const ANSWER = 10_000;
const QUESTIONS_AT_ONCE = 8;
/** Once one has ended, others are given this long to end with it: each answer costs the batch some events. */
const COMPANY = 2000;

/** Resolves once some have ended. */
export async function awaitChildren(children: readonly Child[]): Promise<Awaited> {
  const { client, cancellationSignal: signal } = Context.current();
  const ended = new Map<string, Ending>();
  const look = async (): Promise<void> => {
    const open = children.filter(({ workflowId }) => !ended.has(workflowId));
    await mapAtOnce(open, QUESTIONS_AT_ONCE, async (child) => {
      const ending = await client.withDeadline(Date.now() + ANSWER, () => endingOf(client, child));
      if (ending !== null) ended.set(child.workflowId, ending);
    });
  };
  for (let pause = FIRST_LOOK; ; pause = Math.min(LAST_LOOK, pause * 1.5)) {
    await look();
    if (ended.size > 0) break;
    await sleep(pause, undefined, { signal });
  }
  if (ended.size < children.length) {
    await sleep(COMPANY, undefined, { signal });
    await look();
  }
  return { ended: [...ended].map(([workflowId, ending]) => ({ workflowId, ending })) };
}

/** Null while it is running. */
async function endingOf(client: Client, { workflowId, runId }: Child): Promise<Ending | null> {
  const handle = client.workflow.getHandle(workflowId, runId);
  try {
    const { status } = await handle.describe();
    // A child never continues as new.
    return status.name === 'RUNNING' ? null : endingOfResult((await handle.result()) as PipelineResult);
  } catch (error) {
    return endingOfError(error);
  }
}

function endingOfResult({ status, outputs }: PipelineResult): Ending {
  return { status: status === 'unchanged' ? 'unchanged' : 'completed', outputs: outputs.map(({ uri }) => uri), error: null };
}

function endingOfError(error: unknown): Ending {
  if (error instanceof WorkflowNotFoundError) {
    const message = 'The server knows the run no more, so nobody can tell how it ended.';
    return { status: 'failed', outputs: [], error: { type: 'CheckpointError', message, details: {} } };
  }
  if (!(error instanceof WorkflowFailedError)) throw error;
  const { cause } = error;
  if (cause instanceof CancelledFailure) return { status: 'cancelled', outputs: [], error: null };
  const type = (cause instanceof ApplicationFailure ? cause.type : undefined) ?? 'CheckpointError';
  return { status: 'failed', outputs: [], error: briefReport({ type, message: cause?.message ?? error.message, details: {} }) };
}
