/** What a server tells of all that is on it. */
import { Client, WorkflowNotFoundError } from '@temporalio/client';
import { mapAtOnce } from '../../io/at-once.ts';
import type { TemporalAccess } from './connect.ts';
import { millisecondsOf, readServerClock } from './server-clock.ts';

/** Types of task queues, of the API. */
const WORKFLOWS = 1;
const ACTIVITIES = 2;
/** Milliseconds within which a living worker asks again: the server lets a poll wait for a minute. */
export const POLLED_WITHIN = 70_000;
/** Workers that poll with a version. */
const VERSIONED = 2;
/** What the server calls the version of workers that have none. */
const UNVERSIONED = '__unversioned__';
/** Runs that the server is asked about at a time. */
const ASKED_AT_ONCE = 16;

export type Place = Pick<TemporalAccess, 'connection' | 'namespace'>;

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

/** Of those that asked for work a moment ago, as a worker does at least once a minute. One that has just been stopped is among them: the server does not say. */
export async function livePollersOf(place: Place, queue: string): Promise<readonly string[]> {
  return [...new Set((await livePollsOf(place, queue)).map(({ identity }) => identity))];
}

/** The same with their versions: they ask for workflows, or for activities where they have none. */
export async function livePollsOf(place: Place, queue: string): Promise<readonly Poll[]> {
  const polls = [...(await pollsOf(place, queue, WORKFLOWS)), ...(await pollsOf(place, queue, ACTIVITIES))];
  if (polls.length === 0) return [];
  // By the server's clock, which may differ from this one; where it lets nobody poll but workers, by ours.
  const now = await readServerClock(place).then(
    ({ other }) => other,
    () => Date.now(),
  );
  return polls.filter(({ at }) => at === null || now - at <= POLLED_WITHIN);
}

/** Of a worker deployment. */
export interface Version {
  readonly deploymentName: string;
  readonly buildId: string;
}

interface Poll {
  readonly identity: string;
  readonly at: number | null;
  /** Null: the worker has none. */
  readonly version: Version | null;
}

async function pollsOf({ connection, namespace }: Place, queue: string, taskQueueType: 1 | 2): Promise<readonly Poll[]> {
  const { pollers } = await connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType });
  return (pollers ?? []).map(({ identity, lastAccessTime, deploymentOptions }) => ({
    identity: identity ?? '',
    at: millisecondsOf(lastAccessTime),
    version: deploymentOptions?.workerVersioningMode === VERSIONED ? versionOf(deploymentOptions) : null,
  }));
}

/** Which workers of a queue the server gives new runs to; null versions: those without one. */
export interface Routing {
  readonly current: Version | null;
  /** Absent: no other version is given a part of them. */
  readonly ramping?: Version | null;
}

/** Null where the server does not tell, as older ones do not. */
export async function routingOf({ connection, namespace }: Place, queue: string): Promise<Routing | null> {
  const about = { namespace, taskQueue: { name: queue }, taskQueueType: ACTIVITIES };
  const { versioningInfo } = await connection.workflowService.describeTaskQueue(about);
  if (versioningInfo == null) return null;
  const { currentDeploymentVersion, currentVersion, rampingDeploymentVersion, rampingVersionPercentage } = versioningInfo;
  if (currentDeploymentVersion == null && ![undefined, null, '', UNVERSIONED].includes(currentVersion)) return null;
  return {
    current: currentDeploymentVersion == null ? null : versionOf(currentDeploymentVersion),
    ...((rampingVersionPercentage ?? 0) > 0
      ? { ramping: rampingDeploymentVersion == null ? null : versionOf(rampingDeploymentVersion) }
      : {}),
  };
}

function versionOf(named: { readonly deploymentName?: string | null; readonly buildId?: string | null }): Version {
  return { deploymentName: named.deploymentName ?? '', buildId: named.buildId ?? '' };
}

/** Whether a worker has taken the first task of a workflow: before, its history has the start and that task. */
export async function hasBegun({ connection, namespace }: Place, workflowId: string): Promise<boolean> {
  const { historyLength } = await new Client({ connection, namespace }).workflow.getHandle(workflowId).describe();
  return historyLength > 2;
}
