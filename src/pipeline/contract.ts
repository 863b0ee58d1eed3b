/**
 * The JSON that goes into and comes out of a pipeline run: the contract of workflows, activities, clients and the CLI.
 *
 * Invariant: everything here is plain JSON and small; renaming a field is a breaking change. Workflow-safe.
 */
import type { ErrorReport, Json, JsonObject } from '../errors.ts';
import type { CheckpointContext, Output } from '../model/context.ts';

/** The task queue every worker polls unless told otherwise. */
export const TASK_QUEUE = 'checkpoints';
/** Where workers that scale out take the activities that move bytes, each only as many as it runs; see docs/decisions/0020. */
export const TRANSFER_QUEUE = `${TASK_QUEUE}-transfers`;
export const PIPELINE_WORKFLOW = 'checkpointPipeline';
export const STATUS_QUERY = 'status';
/** Where a run or batch that was cancelled leaves its result: such a workflow has none, and with no worker up nobody answers queries. */
export const RESULT_MEMO = 'checkpoint_result';
/** The update that answers a run which waits: `{action, options?}`. */
export const RESOLVE_UPDATE = 'resolve_failure';
/** The activity before the first stage: what can be known to be wrong before anything is moved. */
export const PREFLIGHT_ACTIVITY = 'pipeline.preflight';
/** The activity after the last stage of a run with `report: true`. */
export const REPORT_ACTIVITY = 'pipeline.report';
/** The local activity that checks changed options of a stage that is to be tried again. */
export const CHECK_OPTIONS_ACTIVITY = 'pipeline.check_options';

/** Suffix of the activity that removes what a failed or cancelled stage left behind: `sink.publish.discard`. */
export const DISCARD_SUFFIX = '.discard';

/** Keys of a stage that steer the run; all others are options of its type. */
export const STAGE_CONTROLS = ['type', 'timeout', 'max_retries', 'retry', 'on_error', 'continue_on_error'] as const;

/** After a stage has failed for good: end the run, go on without what the stage would have changed, or stand still and ask. */
export const ON_ERROR = ['fail', 'continue', 'wait'] as const;
export type OnError = (typeof ON_ERROR)[number];

/** How a stage is tried again; times in seconds. What is left out is taken from the pipeline's `retry`, then from the defaults. */
export type RetrySpec = {
  /** Attempts in all; with `max_retries` beside it, this one counts. Default 3. */
  readonly maximum_attempts?: number;
  /** Before the second attempt; default 1. */
  readonly initial_interval?: number;
  /** Factor from one wait to the next; default 2. */
  readonly backoff?: number;
  /** Longest wait; default 100 times the first. */
  readonly maximum_interval?: number;
};

/** One stage of the document: its type, options beside it, and what differs from the pipeline's own settings. */
export interface StageSpec {
  readonly type: string;
  /** Seconds one attempt may take; of `source.http`, seconds without progress. */
  readonly timeout?: number;
  /** Attempts in all. */
  readonly max_retries?: number;
  readonly retry?: RetrySpec;
  readonly on_error?: OnError;
  /** `true` is `on_error: continue`. */
  readonly continue_on_error?: boolean;
  readonly [option: string]: Json | undefined;
}

/** The pipeline document, as YAML or JSON, and the workflow's only argument. */
export interface PipelineInput {
  readonly name?: string;
  /** Path or URI to read first: short for a source stage, by its scheme; gone once the document is checked. */
  readonly source?: string;
  readonly stages: readonly StageSpec[];
  /** Attempts for each stage in all; default 3. */
  readonly max_retries?: number;
  /** Seconds one attempt of a stage may take; default 300, for a sink a day. Of `source.http`, seconds without progress. */
  readonly timeout?: number;
  readonly retry?: RetrySpec;
  readonly on_error?: OnError;
  /** `true` is `on_error: continue`. */
  readonly continue_on_error?: boolean;
  /** Accepted and without effect: whoever starts a run may wait for it or not. */
  readonly async_execution?: boolean;
  /** Leave a report beside each output. */
  readonly report?: boolean;
  /** URI of the workspace; default: the worker's own. */
  readonly workspace?: string;
  /** For whoever wrote the document (YAML's anchors, notes of a program): gone once it is checked. */
  readonly [holder: `x-${string}`]: unknown;
}

/** What every stage activity takes. */
export interface StageInput {
  readonly context: CheckpointContext;
  readonly options: JsonObject;
  readonly stage: { readonly index: number; readonly type: string };
  /** Of a download: seconds without progress after which it is given up, where the document says. */
  readonly stall?: number;
  readonly run: { readonly workflowId: string; readonly runId: string; readonly workspace: string | null };
  /** All stages, of a last stage before which none failed, was skipped or was changed: then the output follows from them. */
  readonly pipeline?: readonly PlainStage[];
}

/** A stage without what steers its run. */
export interface PlainStage {
  readonly type: string;
  readonly options: JsonObject;
}

/** What every stage activity gives. */
export interface StageOutput {
  readonly context: CheckpointContext;
  /** One line for people: what the stage did. */
  readonly summary: string;
  readonly attempt: number;
  /** This one and those before it that failed, as the workers that made them have handed them on. */
  readonly attempts?: readonly AttemptRecord[];
}

/** One attempt of a stage; times are ISO 8601. */
export interface AttemptRecord {
  readonly attempt: number;
  /** Null where the worker was lost before it could say. */
  readonly started: string | null;
  readonly ended: string | null;
  readonly outcome: 'completed' | 'failed' | 'cancelled' | 'lost';
  readonly error: { readonly type: string; readonly message: string } | null;
}

/** One call of a stage with all its attempts; a second one follows where somebody has answered `retry`. */
export interface StageTry {
  readonly started: string;
  readonly ended: string | null;
  readonly outcome: 'running' | 'completed' | 'failed' | 'cancelled';
  /** What the stage did, or the message of its error. */
  readonly summary: string | null;
  /** Options that were changed for this one. */
  readonly changed: JsonObject | null;
  /** The first and the last few. */
  readonly attempts: readonly AttemptRecord[];
}

export type StageStatus = 'pending' | 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled' | 'skipped';

export interface StageRecord {
  readonly index: number;
  readonly type: string;
  readonly status: StageStatus;
  /** Over all tries; 0 for a stage that was not run. */
  readonly attempts: number;
  readonly started: string | null;
  readonly ended: string | null;
  readonly summary: string | null;
  readonly error: ErrorReport | null;
  /** The last few. */
  readonly tries: readonly StageTry[];
}

export const RESOLUTIONS = ['retry', 'skip', 'abort'] as const;

/** What the update `resolve_failure` takes. */
export interface Resolution {
  readonly action: (typeof RESOLUTIONS)[number];
  /** With `retry`: options and controls of the stage that change; null takes one away. */
  readonly options?: JsonObject;
}

/** What the update `resolve_failure` gives. */
export interface Resolved {
  readonly stage: { readonly index: number; readonly type: string };
  readonly action: Resolution['action'];
}

/** The open question of a run that stands still. */
export interface Waiting {
  readonly stage: { readonly index: number; readonly type: string };
  readonly error: ErrorReport;
  /** ISO 8601. */
  readonly since: string;
  readonly options: readonly Resolution['action'][];
  /** Why the last answer was not taken. */
  readonly refused: ErrorReport | null;
}

export type RunStatus = 'running' | 'waiting' | 'completed' | 'unchanged' | 'failed' | 'cancelled';

/** Result of a run, answer to the `status` query, and what `ckpt run --json` prints. */
export interface PipelineResult {
  readonly workflow_id: string;
  readonly run_id: string;
  readonly status: RunStatus;
  readonly stages: readonly StageRecord[];
  readonly outputs: readonly Output[];
  readonly metadata: JsonObject;
  readonly error: ErrorReport | null;
  /** Only of a run that waits. */
  readonly waiting: Waiting | null;
}

/** What the preflight activity takes. */
export interface PreflightInput {
  readonly stages: readonly PlainStage[];
  readonly workspace: string | null;
}

/** Something that is wrong, or may be, before the first stage. */
export interface Problem {
  /** In the document: `stages[1].path`. */
  readonly path: string;
  /** Index of the stage; null for what concerns the whole run. */
  readonly stage: number | null;
  /** `config`: the document is wrong, whatever happens to files; `place`: a file, folder or store is not as it must be. */
  readonly kind: 'config' | 'place';
  /** A transient one is left to the stage and its retries. */
  readonly transient: boolean;
  readonly error: ErrorReport;
}

export interface PreflightOutput {
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
  /** For each stage, what must be there before it is run. */
  readonly needs: readonly (readonly Need[])[];
  /** For each stage, the task queue of its activity; null, or none at all: the run's own. */
  readonly queues?: readonly (string | null)[];
}

/** What the report activity takes. */
export interface ReportInput {
  /** As the run ends, but for the reports. */
  readonly result: PipelineResult;
  readonly context: CheckpointContext;
  /** The document, with long values cut. */
  readonly document: JsonObject;
  readonly workspace: string | null;
}

/** What it gives: the URI of a report for each output. */
export interface ReportOutput {
  readonly reports: readonly string[];
}

/** `checkpoint_data`: a source has read a header; `model`: a loader has made a plan. */
export type Need = 'checkpoint_data' | 'model';

/** Details of a publishing stage's heartbeat, shown as progress. */
export interface TransferProgress {
  /** Bytes that are done. */
  readonly offset: number;
  /** Bytes in all. */
  readonly size: number;
}

/** Work that is tried again, by its last failure. */
export interface Retrying {
  /** Of a pipeline mostly a stage, by its type. */
  readonly activity: string;
  /** Of the attempt that is under way or comes next. */
  readonly attempt: number;
  /** Perhaps cut. */
  readonly error: string;
  /** Only where an operator has paused it, by Temporal's means: it stands still until somebody unpauses it. */
  readonly paused?: Paused;
}

/** Null: the server does not say. */
export interface Paused {
  readonly by: string | null;
  readonly reason: string | null;
}

/** How a run stands, with what is seen from outside of it. */
export interface PipelineProgress extends PipelineResult {
  /** Bytes of the transfer that is under way. */
  readonly transfer: TransferProgress | null;
  readonly retrying: Retrying | null;
}
