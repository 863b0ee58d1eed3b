/** What a server still knows of a run or a batch: its history, and what can be read out of it. */
import { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { collectRun } from '../../activities/report.ts';
import type { Services } from '../../activities/services.ts';
import { CheckpointConfigError, isCheckpointError, textOf, type JsonObject } from '../errors.ts';
import { linesOf } from '../io/lines.ts';
import { packageVersion } from '../io/package-version.ts';
import type { CheckpointContext } from '../model/context.ts';
import { BATCH_WORKFLOW, type BatchResult, type Outcome } from '../pipeline/batch.ts';
import { PIPELINE_WORKFLOW, type PipelineResult } from '../pipeline/contract.ts';
import { batchContents } from '../report/batch-contents.ts';
import type { Contents } from '../report/contents.ts';
import { CheckpointClient } from './client.ts';
import { rejectNotFound } from './failures.ts';
import type { TemporalAccess } from './temporal/connect.ts';

type History = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>;

export interface RunRecords {
  readonly kind: 'run' | 'batch';
  readonly workflowId: string;
  readonly runId: string;
  readonly result: PipelineResult | BatchResult;
  /** The document that it was started with. */
  readonly document: JsonObject;
  /** As the last stage that ended has handed it on. */
  readonly context: CheckpointContext | null;
  /** ISO 8601; of a batch its very beginning. */
  readonly started: string | null;
  readonly ended: string | null;
  /** Of the last run of that id, as other Temporal tools write it. */
  readonly history: string;
}

/** A run that is going on is asked how it stands, which needs a worker. */
export async function fetchRecords({ connection, namespace }: TemporalAccess, workflowId: string): Promise<RunRecords> {
  const temporal = new Client({ connection, namespace });
  const client = new CheckpointClient({ client: temporal });
  const { type, runId, closeTime, startTime } = await temporal.workflow.getHandle(workflowId).describe().catch(rejectNotFound(workflowId));
  if (type !== PIPELINE_WORKFLOW && type !== BATCH_WORKFLOW)
    throw new CheckpointConfigError(`${workflowId} is a workflow ${type}; a report is made of ${PIPELINE_WORKFLOW} and ${BATCH_WORKFLOW}.`);
  const kind = type === PIPELINE_WORKFLOW ? 'run' : 'batch';
  const history = await temporal.workflow.getHandle(workflowId, runId).fetchHistory();
  const { carried, ...document } = inputOf(history);
  const result = await (kind === 'run' ? client.status(workflowId) : client.batch.status(workflowId));
  const since = (carried as { readonly since?: number } | undefined)?.since;
  return {
    kind,
    workflowId,
    runId,
    result,
    document,
    context: lastContext(history),
    started: new Date(since ?? startTime.getTime()).toISOString(),
    ended: closeTime?.toISOString() ?? null,
    history: historyToJSON(history),
  };
}

/** What a report shows, with what can be had from here. */
export async function contentsOf(services: Services, records: RunRecords): Promise<Contents> {
  const { kind, document, context, runId, started, ended } = records;
  if (kind === 'run') {
    // By its kind.
    const result = records.result as PipelineResult;
    const workspace = typeof document['workspace'] === 'string' ? document['workspace'] : null;
    return collectRun(services, { result, context, document, workspace }, result.outputs.at(-1) ?? null);
  }
  const result = records.result as BatchResult;
  const gaps: string[] = [];
  const outcomes = result.results === null ? null : await outcomesIn(services, result.results, document, gaps);
  return batchContents({
    result,
    document,
    runId,
    started,
    ended,
    outcomes,
    gaps,
    created: new Date().toISOString(),
    version: packageVersion(),
  });
}

async function outcomesIn(
  { storage, ...services }: Services,
  uri: string,
  document: JsonObject,
  gaps: string[],
): Promise<readonly Outcome[] | null> {
  try {
    const { workspace } = document['pipeline'] as { readonly workspace?: string };
    const source = (await services.workspace(workspace ?? null).openFile(uri)) ?? (await storage.open(uri));
    try {
      const outcomes: Outcome[] = [];
      for await (const { line } of linesOf(source)) outcomes.push(JSON.parse(line) as Outcome);
      return outcomes;
    } finally {
      await source.close();
    }
  } catch (error) {
    if (isCheckpointError(error) && error.code === 'CheckpointNotFoundError')
      gaps.push(`There are no results at ${uri} any more, or not on this machine; so this report has the totals only.`);
    else gaps.push(`The results at ${uri} cannot be read, so this report has the totals only: ${textOf(error)}`);
  }
  return null;
}

function inputOf({ events }: History): JsonObject {
  const data = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
  return (decoded(data) ?? {}) as JsonObject;
}

/** Every stage gives the whole context; the last one has it all. */
function lastContext({ events }: History): CheckpointContext | null {
  for (const event of (events ?? []).toReversed()) {
    const given = decoded(event.activityTaskCompletedEventAttributes?.result?.payloads?.[0]?.data);
    if (typeof given === 'object' && given !== null && 'context' in given) return given.context as CheckpointContext;
  }
  return null;
}

function decoded(data: Uint8Array | null | undefined): unknown {
  return data === null || data === undefined || data.length === 0 ? null : (JSON.parse(Buffer.from(data).toString('utf8')) as unknown);
}
