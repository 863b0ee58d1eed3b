/** What a server tells of all that is on it. */
import { Client, WorkflowNotFoundError } from '@temporalio/client';
import { mapAtOnce } from '../../io/at-once.ts';
import type { TemporalAccess } from './connect.ts';

/** Runs that the server is asked about at a time. */
const ASKED_AT_ONCE = 16;

type Place = Pick<TemporalAccess, 'connection' | 'namespace'>;

/**
 * When the oldest open workflow of the namespace started, in milliseconds since the epoch; null: none is open. A run that continues another,
 * as one that was reset does, or a batch, still reads what the first of them has written.
 */
export async function oldestOpenRun({ connection, namespace }: Place): Promise<number | null> {
  const client = new Client({ connection, namespace });
  const open: { readonly workflowId: string; readonly runId: string }[] = [];
  for await (const { workflowId, runId } of client.workflow.list({ query: "ExecutionStatus = 'Running'" }))
    open.push({ workflowId, runId });
  const starts = await mapAtOnce(open, ASKED_AT_ONCE, ({ workflowId, runId }) => firstStart(client, workflowId, runId));
  return starts.reduce<number | null>((oldest, start) => Math.min(oldest ?? Infinity, start), null);
}

async function firstStart(client: Client, workflowId: string, runId: string): Promise<number> {
  const described = await client.workflow
    .getHandle(workflowId, runId)
    .describe()
    .catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    });
  // It has ended meanwhile, and been forgotten.
  if (described === null) return Infinity;
  const { raw, startTime } = described;
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
