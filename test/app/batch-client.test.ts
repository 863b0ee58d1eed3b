/** What a retry needs of the batch before. */
import { expect, test } from '@jest/globals';
import type { Client } from '@temporalio/client';
import { CheckpointBatches } from '../../src/app/batch-client.ts';
import { BATCH_WORKFLOW } from '../../src/pipeline/batch.ts';

test('a history without the input is refused, with what to do instead', async () => {
  const handle = {
    describe: async () => ({ type: BATCH_WORKFLOW, status: { name: 'COMPLETED' } }),
    result: async () => ({ results: 'file:///r.jsonl', total: 1, completed: 0, unchanged: 0, failed: 1, cancelled: 0 }),
    fetchHistory: async () => ({ events: [{ workflowExecutionStartedEventAttributes: {} }] }),
  };
  const client = { workflow: { getHandle: () => handle }, withAbortSignal: (_signal: AbortSignal, ask: () => unknown) => ask() };
  // What a retry asks it for.
  const access = { client: client as unknown as Client, taskQueue: 'none', note: () => undefined, ended: new AbortController().signal };
  await expect(new CheckpointBatches(access).retry('nightly')).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: expect.stringContaining('`items: {failed_in: file:///r.jsonl}`'),
  });
});
