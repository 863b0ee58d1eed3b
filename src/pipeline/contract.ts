/**
 * The JSON that goes into and comes out of a pipeline run: the contract of workflows, activities, clients and the CLI.
 *
 * Invariant: everything here is plain JSON and small; renaming a field is a breaking change. Workflow-safe.
 */
import type { ErrorReport, Json, JsonObject } from '../errors.ts';
import type { CheckpointContext, Output } from '../model/context.ts';

/** The task queue every worker polls unless told otherwise. */
export const TASK_QUEUE = 'checkpoints';
export const PIPELINE_WORKFLOW = 'checkpointPipeline';
export const STATUS_QUERY = 'status';

/** Suffix of the activity that removes what a failed or cancelled stage left behind: `sink.publish.discard`. */
export const DISCARD_SUFFIX = '.discard';

/** Kinds of stages, in the order they usually stand in. */
export const STAGE_KINDS = ['source', 'loader', 'modifier', 'sink'] as const;

/** Keys of a stage that steer the run; all others are options of its type. */
export const STAGE_CONTROLS = ['type', 'timeout', 'max_retries', 'continue_on_error'] as const;

/** One stage of the document: its type, options beside it, and what differs from the pipeline's own settings. */
export interface StageSpec {
  readonly type: string;
  /** Seconds one attempt may take. */
  readonly timeout?: number;
  /** Attempts in all. */
  readonly max_retries?: number;
  readonly continue_on_error?: boolean;
  readonly [option: string]: Json | undefined;
}

/** The pipeline document, as YAML or JSON, and the workflow's only argument. */
export interface PipelineInput {
  readonly name?: string;
  readonly stages: readonly StageSpec[];
  /** Attempts for each stage in all; default 3. */
  readonly max_retries?: number;
  /** Seconds one attempt of a stage may take; default 300, for a sink a day. */
  readonly timeout?: number;
  readonly continue_on_error?: boolean;
  /** URI of the workspace; default: the worker's own. */
  readonly workspace?: string;
}

/** What every stage activity takes. */
export interface StageInput {
  readonly context: CheckpointContext;
  readonly options: JsonObject;
  readonly stage: { readonly index: number; readonly type: string };
  readonly run: { readonly workflowId: string; readonly runId: string; readonly workspace: string | null };
}

/** What every stage activity gives. */
export interface StageOutput {
  readonly context: CheckpointContext;
  /** One line for people: what the stage did. */
  readonly summary: string;
  readonly attempt: number;
}

export type StageStatus = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'skipped';

export interface StageRecord {
  readonly index: number;
  readonly type: string;
  readonly status: StageStatus;
  readonly attempts: number;
  readonly summary: string | null;
  readonly error: ErrorReport | null;
}

export type RunStatus = 'running' | 'completed' | 'unchanged' | 'failed' | 'cancelled';

/** Result of a run, answer to the `status` query, and what `ckpt run --json` prints. */
export interface PipelineResult {
  readonly workflow_id: string;
  readonly run_id: string;
  readonly status: RunStatus;
  readonly stages: readonly StageRecord[];
  readonly outputs: readonly Output[];
  readonly metadata: JsonObject;
  readonly error: ErrorReport | null;
}

/** Details of a publishing stage's heartbeat, shown as progress. */
export interface TransferProgress {
  /** Bytes that are done. */
  readonly offset: number;
  /** Bytes in all. */
  readonly size: number;
}
