/**
 * The one way to start runs and to learn how they stand and end: for the command line, and for programs that import the package.
 *
 * Invariant: neither a worker nor a storage SDK is loaded from here; what crossed Temporal comes out as our own errors again.
 */
import { setMaxListeners } from 'node:events';
import {
  Client,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type ConnectionLike,
  type WorkflowExecutionDescription,
} from '@temporalio/client';
import { CheckpointConfigError, errorOf } from '../errors.ts';
import { refuseCredential } from '../io/locations/credentials.ts';
import {
  PIPELINE_WORKFLOW,
  RESOLVE_UPDATE,
  TASK_QUEUE,
  type PipelineInput,
  type PipelineProgress,
  type PipelineResult,
  type Resolution,
  type Resolved,
  type TransferProgress,
} from '../pipeline/contract.ts';
import { CheckpointBatches } from './batch-client.ts';
import { reportOfCause } from './failures.ts';
import { retryingOf, transferOf } from './pending.ts';
import { Runs, type Ended } from './runs.ts';
import { CheckpointSchedules } from './schedule-client.ts';
import type { Access, Run, Work } from './start.ts';

/** Waits this long, in milliseconds, for an answer to be taken: a worker looks at changed options. */
const ANSWER_DEADLINE = 60_000;

export interface ClientSettings {
  /** Default `checkpoints`. */
  readonly taskQueue?: string;
  /** Takes one line about search attributes that the server lacks; runs do without them. */
  readonly note?: (line: string) => void;
}

/** A client of Temporal's, or a connection to make one of. */
export type ClientSource = { readonly client: Client } | { readonly connection: ConnectionLike; readonly namespace?: string };

/**
 * Runs of pipelines on a Temporal server whose workers are `ckpt worker`.
 *
 * Pipelines are plain JSON, and their locations are as the workers see them: absolute paths or URIs. A run that failed throws the
 * class that it failed with, with its details; across copies of this package test its `code`.
 */
export class CheckpointClient extends Runs<PipelineInput, PipelineResult, PipelineProgress> {
  /** One pipeline for each of many checkpoints. */
  readonly batch: CheckpointBatches;
  /** Pipelines and batches that start by themselves. */
  readonly schedules: CheckpointSchedules;
  /** Null: the connection is somebody else's, or has been ended. */
  #close: (() => Promise<void>) | null = null;
  readonly #access: EndingAccess;

  constructor(source: ClientSource, { taskQueue = TASK_QUEUE, note = () => undefined }: ClientSettings = {}) {
    const access = new EndingAccess('client' in source ? source.client : new Client(source), taskQueue, note);
    super(access);
    this.#access = access;
    this.batch = new CheckpointBatches(this.access);
    this.schedules = new CheckpointSchedules(this.access, this, this.batch);
  }

  /**
   * Connects by Temporal's environment configuration (`TEMPORAL_ADDRESS`, profiles …); without any, to the server of `ckpt dev`, else
   * to one on the default local port. `close` ends the connection.
   */
  static async connect(settings: ClientSettings = {}): Promise<CheckpointClient> {
    const { connectExisting } = await import('./temporal/connect.ts');
    const { connection, namespace, close } = await connectExisting();
    const made = new CheckpointClient({ connection, namespace }, settings);
    made.#close = close;
    return made;
  }

  /** Answers a run that waits. Throws what the run says of the answer: `CheckpointConfigError` where none is waited for; `CheckpointNotFoundError` once it has ended. */
  async resolveFailure(run: Run, resolution: Resolution): Promise<Resolved> {
    // Who has no compiler may give anything; what else is wrong with it, the run says.
    const { options } = (resolution as Resolution | null | undefined) ?? {};
    for (const [option, value] of Object.entries(options ?? {})) refuseCredential(value, `options.${option}`);
    try {
      return await this.access.client.withDeadline(Date.now() + ANSWER_DEADLINE, () =>
        this.handle(run).executeUpdate<Resolved, [Resolution]>(RESOLVE_UPDATE, { args: [resolution] }),
      );
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) await this.describeRunning(run, 'it waits for no answer');
      if (!(error instanceof WorkflowUpdateFailedError)) throw error;
      throw errorOf(reportOfCause(error.cause, error.message), error);
    }
  }

  /** Bytes of the transfer that is under way, as its worker last said; null where there is none. */
  async transfer(run: Run): Promise<TransferProgress | null> {
    return transferOf(await this.describe(run));
  }

  /** Ends the connection that `connect` has made, after which all else is a `CheckpointConfigError`; one that was given stays open. */
  async close(): Promise<void> {
    const close = this.#close;
    if (close === null) return;
    this.#close = null;
    this.#access.end();
    await close();
  }

  protected override readonly workflowType = PIPELINE_WORKFLOW;

  protected override work(input: PipelineInput): Work {
    return { kind: 'pipeline', input };
  }

  protected override bare(workflowId: string, runId: string, ended: Ended<'failed' | 'cancelled'>): PipelineResult {
    return { workflow_id: workflowId, run_id: runId, stages: [], outputs: [], metadata: {}, waiting: null, ...ended };
  }

  protected override progress(result: PipelineResult, description: WorkflowExecutionDescription): PipelineProgress {
    if (description.status.name !== 'RUNNING') return { ...result, transfer: null, retrying: null };
    return { ...result, transfer: transferOf(description), retrying: retryingOf(description) };
  }
}

/** Access until the connection is ended: what is asked later would fail with words of the transport. */
class EndingAccess implements Access {
  readonly taskQueue: string;
  readonly note: (line: string) => void;
  readonly #ending = new AbortController();
  #client: Client | null;

  constructor(client: Client, taskQueue: string, note: (line: string) => void) {
    this.#client = client;
    // Of each run that is waited for.
    setMaxListeners(0, this.#ending.signal);
    this.taskQueue = taskQueue;
    this.note = note;
  }

  get ended(): AbortSignal {
    return this.#ending.signal;
  }

  get client(): Client {
    if (this.#client === null) throw new CheckpointConfigError('This client was closed. `CheckpointClient.connect()` makes another one.');
    return this.#client;
  }

  end(): void {
    this.#client = null;
    this.#ending.abort();
  }
}
