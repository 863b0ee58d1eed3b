/** How a run has ended that left no result of its own. */
import { expect, test } from '@jest/globals';
import { WorkflowFailedError, type Client } from '@temporalio/client';
import { RetryState, TerminatedFailure, TimeoutFailure, TimeoutType } from '@temporalio/common';
import { CheckpointClient } from '../../src/app/client.ts';
import { PIPELINE_WORKFLOW } from '../../src/pipeline/contract.ts';

/** A client of a server on which every run has ended with that cause. */
function clientOf(status: string, cause: Error): CheckpointClient {
  const handle = {
    describe: async () => ({ type: PIPELINE_WORKFLOW, status: { name: status }, runId: 'run-1', memo: {} }),
    result: async () => Promise.reject(new WorkflowFailedError(cause.message, cause, RetryState.NON_RETRYABLE_FAILURE)),
  };
  // What is asked of it.
  const client = { workflow: { getHandle: () => handle }, withAbortSignal: (_: AbortSignal, ask: () => unknown) => ask() };
  return new CheckpointClient({ client: client as unknown as Client });
}

test('a terminated run says so, with the reason, and that nothing was cleaned up', async () => {
  const client = clientOf('TERMINATED', new TerminatedFailure('maintenance'));
  expect(await client.status('one')).toMatchObject({
    workflow_id: 'one',
    run_id: 'run-1',
    status: 'failed',
    error: {
      type: 'CheckpointError',
      message: expect.stringMatching(/^The run was terminated \(reason: maintenance\)\. .* not cleaned up/),
      details: { reason: 'terminated', suggestion: expect.stringContaining('`ckpt cancel`') },
    },
  });
});

test('no reason is made up where none was given', async () => {
  const client = clientOf('TERMINATED', new TerminatedFailure('Workflow execution terminated'));
  expect(await client.status('one')).toMatchObject({
    error: { message: expect.stringMatching(/^The run was terminated\. /), details: { reason: 'terminated', said: null } },
  });
});

test('one whose time was over is a timeout; the run that was asked for stays the one that is told of', async () => {
  const client = clientOf('TIMED_OUT', new TimeoutFailure('Workflow execution timed out', undefined, TimeoutType.START_TO_CLOSE));
  expect(await client.settled({ workflowId: 'two', runId: 'first' })).toMatchObject({
    run_id: 'first',
    status: 'failed',
    error: { type: 'CheckpointTimeoutError', details: { reason: 'run_timed_out', operation: 'run' } },
  });
});
