/** What a server still knows of a run or a batch: its history, and what can be read out of it. */
import { Client, WorkflowNotFoundError } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { collectBatch } from '../../activities/batch/report.ts';
import { collectRun } from '../../activities/report.ts';
import type { Services } from '../../activities/services.ts';
import { CheckpointConfigError, CheckpointTimeoutError, type JsonObject } from '../errors.ts';
import { EMPTY_CONTEXT, type CheckpointContext } from '../model/context.ts';
import { isMapping } from '../model/json.ts';
import { BATCH_WORKFLOW, type BatchResult } from '../pipeline/batch.ts';
import { PIPELINE_WORKFLOW, type PipelineInput, type PipelineResult } from '../pipeline/contract.ts';
import { newHistory } from '../pipeline/history.ts';
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
  /** Of every run that the server knows, in their order, as other Temporal tools write them; a batch goes on in further runs. */
  readonly histories: readonly string[];
  /** What could not be had, in sentences. */
  readonly gaps: readonly string[];
}

/** A run that is going on is asked how it stands; where no worker answers, its history says less, and `gaps` that. */
export async function fetchRecords(
  { connection, namespace }: TemporalAccess,
  workflowId: string,
  wanted: { readonly everyRun: boolean } = { everyRun: false },
): Promise<RunRecords> {
  const temporal = new Client({ connection, namespace });
  const client = new CheckpointClient({ client: temporal });
  const { type, runId, closeTime, startTime } = await temporal.workflow.getHandle(workflowId).describe().catch(rejectNotFound(workflowId));
  if (type !== PIPELINE_WORKFLOW && type !== BATCH_WORKFLOW)
    throw new CheckpointConfigError(`${workflowId} is a workflow ${type}; a report is made of ${PIPELINE_WORKFLOW} and ${BATCH_WORKFLOW}.`);
  const kind = type === PIPELINE_WORKFLOW ? 'run' : 'batch';
  const gaps: string[] = [];
  const history = await temporal.workflow.getHandle(workflowId, runId).fetchHistory();
  const histories = [history, ...(wanted.everyRun ? await runsBefore(temporal, workflowId, history, gaps) : [])].reverse();
  const { carried: _carried, ...document } = inputOf(histories[0]!);
  const context = lastContext(history);
  const ask = kind === 'run' ? client.status(workflowId) : client.batch.status(workflowId);
  const result = await ask.catch((error: unknown) => {
    if (!(error instanceof CheckpointTimeoutError)) throw error;
    gaps.push(`${error.message} So how far it has come is not known here.`);
    return kind === 'run' ? underWay(workflowId, runId, document, context) : batchUnderWay(workflowId);
  });
  const { since } = (inputOf(history)['carried'] ?? {}) as { readonly since?: number };
  return {
    kind,
    workflowId,
    runId,
    result,
    document,
    context,
    started: new Date(since ?? startTime.getTime()).toISOString(),
    ended: closeTime?.toISOString() ?? null,
    histories: histories.map(historyToJSON),
    gaps,
  };
}

/** The runs that a batch was before it continued as new, the latest first, as far back as the server keeps them. */
async function runsBefore(temporal: Client, workflowId: string, last: History, gaps: string[]): Promise<readonly History[]> {
  const before: History[] = [];
  for (let run = previousRun(last); run !== null; run = previousRun(before.at(-1)!)) {
    const history = await temporal.workflow
      .getHandle(workflowId, run)
      .fetchHistory()
      .catch((error: unknown) => {
        if (!(error instanceof WorkflowNotFoundError)) throw error;
        gaps.push(
          `The server does not keep the run ${run} of ${workflowId} any more, nor those before it; so their histories are left out.`,
        );
        return null;
      });
    if (history === null) break;
    before.push(history);
  }
  return before;
}

function previousRun({ events }: History): string | null {
  const run = events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId ?? '';
  return run === '' ? null : run;
}

/** What a report shows, with what can be had from here. */
export async function contentsOf(services: Services, records: RunRecords): Promise<Contents> {
  const { kind, document, context, runId, started, ended } = records;
  if (kind === 'run') {
    // By its kind.
    const result = records.result as PipelineResult;
    const workspace = workspaceIn(document);
    const contents = await collectRun(services, { result, context, document, workspace }, result.outputs.at(-1) ?? null);
    return { ...contents, gaps: [...records.gaps, ...contents.gaps] };
  }
  const workspace = isMapping(document['pipeline']) ? workspaceIn(document['pipeline']) : null;
  return collectBatch(services, { result: records.result as BatchResult, document, workspace, runId, started, ended }, records.gaps);
}

function workspaceIn(pipeline: Readonly<Record<string, unknown>>): string | null {
  return typeof pipeline['workspace'] === 'string' ? pipeline['workspace'] : null;
}

/** Of a run that nobody tells more of. */
function underWay(workflowId: string, runId: string, document: JsonObject, context: CheckpointContext | null): PipelineResult {
  const { outputs, metadata } = context ?? EMPTY_CONTEXT;
  return {
    workflow_id: workflowId,
    run_id: runId,
    status: 'running',
    // Whoever starts runs writes what they like there.
    stages: Array.isArray(document['stages']) ? newHistory({ stages: document['stages'] as unknown as PipelineInput['stages'] }) : [],
    outputs,
    metadata: metadata as JsonObject,
    error: null,
    waiting: null,
  };
}

function batchUnderWay(workflowId: string): BatchResult {
  const counts = { total: 0, completed: 0, unchanged: 0, failed: 0, cancelled: 0, running: 0 };
  const unknown = { results: null, failures: [], failures_by_code: {}, rate: null, seconds_left: null, error: null };
  return { workflow_id: workflowId, status: 'running', ...counts, ...unknown };
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
