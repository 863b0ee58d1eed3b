/** What a server tells of all that is on it. */
import { Client, WorkflowNotFoundError } from '@temporalio/client';
import { mapAtOnce } from '../../io/at-once.ts';
import type { TemporalAccess } from './connect.ts';
import { millisecondsOf, readServerClock } from './server-clock.ts';

/** Types of task queues, of the API. */
const WORKFLOWS = 1;
const ACTIVITIES = 2;
/** Milliseconds within which a living worker asks again: the server lets a poll wait for a minute. */
const POLLED_WITHIN = 90_000;
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

/** Identities of the workers that have asked for activities in the last minutes: also of those that are gone since. */
export async function pollersOf(place: Place, queue: string): Promise<readonly string[]> {
  return (await pollsOf(place, queue, ACTIVITIES)).map(({ identity }) => identity);
}

/** Of those that ask for work now, as a worker does at least once a minute: for workflows, or for activities where it has none. */
export async function livePollersOf(place: Place, queue: string): Promise<readonly string[]> {
  const polls = [...(await pollsOf(place, queue, WORKFLOWS)), ...(await pollsOf(place, queue, ACTIVITIES))];
  if (polls.length === 0) return [];
  // By the server's clock, which may differ from this one; where it lets nobody poll but workers, by ours.
  const now = await readServerClock(place).then(
    ({ other }) => other,
    () => Date.now(),
  );
  return [...new Set(polls.flatMap(({ identity, at }) => (at === null || now - at <= POLLED_WITHIN ? [identity] : [])))];
}

async function pollsOf({ connection, namespace }: Place, queue: string, taskQueueType: 1 | 2) {
  const { pollers } = await connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType });
  return (pollers ?? []).map(({ identity, lastAccessTime }) => ({ identity: identity ?? '', at: millisecondsOf(lastAccessTime) }));
}

/** Whether a worker has taken the first task of a workflow: before, its history has the start and that task. */
export async function hasBegun({ connection, namespace }: Place, workflowId: string): Promise<boolean> {
  const { historyLength } = await new Client({ connection, namespace }).workflow.getHandle(workflowId).describe();
  return historyLength > 2;
}
