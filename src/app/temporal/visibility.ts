/** What a server tells of all that is on it. */
import { Client } from '@temporalio/client';
import { BATCH_WORKFLOW } from '../../pipeline/batch.ts';
import type { TemporalAccess } from './connect.ts';

type Place = Pick<TemporalAccess, 'connection' | 'namespace'>;

/** When the oldest open workflow of the namespace started, the runs that it continues included, in milliseconds since the epoch; null: none is open. */
export async function oldestOpenRun({ connection, namespace }: Place): Promise<number | null> {
  const client = new Client({ connection, namespace });
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

/** Identities of the workers that have asked for work in the last minutes. */
export async function pollersOf({ connection, namespace }: Place, queue: string): Promise<readonly string[]> {
  // 2: of activities.
  const { pollers } = await connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType: 2 });
  return (pollers ?? []).map(({ identity }) => identity ?? '');
}

/** Whether a worker has taken the first task of a workflow: before, its history has the start and that task. */
export async function hasBegun({ connection, namespace }: Place, workflowId: string): Promise<boolean> {
  const { historyLength } = await new Client({ connection, namespace }).workflow.getHandle(workflowId).describe();
  return historyLength > 2;
}
