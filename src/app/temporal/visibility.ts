/** What a server tells of all that is on it. */
import { Client } from '@temporalio/client';
import type { TemporalAccess } from './connect.ts';

type Place = Pick<TemporalAccess, 'connection' | 'namespace'>;

/** When the oldest open workflow of the namespace started, in milliseconds since the epoch; null: none is open. */
export async function oldestOpenRun({ connection, namespace }: Place): Promise<number | null> {
  let oldest: number | null = null;
  for await (const { startTime } of new Client({ connection, namespace }).workflow.list({ query: "ExecutionStatus = 'Running'" }))
    oldest = Math.min(oldest ?? Infinity, startTime.getTime());
  return oldest;
}

/** Identities of the workers that have asked for work in the last minutes. */
export async function pollersOf({ connection, namespace }: Place, queue: string): Promise<readonly string[]> {
  // 2: of activities.
  const { pollers } = await connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType: 2 });
  return (pollers ?? []).map(({ identity }) => identity ?? '');
}
