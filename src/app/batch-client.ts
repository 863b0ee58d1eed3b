/** Starting batches, and learning how they stand and how they ended. */
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { CheckpointConfigError } from '../errors.ts';
import {
  BATCH_WORKFLOW,
  borneAgain,
  PAUSE_SIGNAL,
  RESUME_SIGNAL,
  type BatchInput,
  type BatchProgress,
  type BatchResult,
  type ContinuedBatch,
} from '../pipeline/batch.ts';
import { waitingOf } from './batch-look.ts';
import { rejectNotFound } from './failures.ts';
import { retryingOf } from './pending.ts';
import { Runs, type Ended, type StartSettings } from './runs.ts';
import { idOf, randomPart, type Run, type StartedRun, type Work } from './start.ts';

export interface RetrySettings extends StartSettings {
  /** Default: as the batch before. */
  readonly report?: boolean;
}

/** An id that no other batch has, for another try of what failed in this one. */
export function retryId(batch: string): string {
  return `${batch.replace(/-retry-[0-9a-f]{8}$/, '')}-retry-${randomPart()}`;
}

/** Batches on a Temporal server whose workers are `ckpt worker`. */
export class CheckpointBatches extends Runs<BatchInput, BatchResult, BatchProgress> {
  /** Starts no more items until `resume`. */
  async pause(batch: Run): Promise<void> {
    await this.#signal(batch, PAUSE_SIGNAL);
  }

  async resume(batch: Run): Promise<void> {
    await this.#signal(batch, RESUME_SIGNAL);
  }

  /** Starts a new batch of what failed, was cancelled or not started in one that has ended; where that is nothing, it is a `CheckpointConfigError`. */
  async retry(batch: Run, { report, ...settings }: RetrySettings = {}): Promise<StartedRun> {
    const workflowId = settings.workflowId ?? retryId(idOf(batch));
    return this.start({ ...(await this.#failedOf(batch)), ...(report === undefined ? {} : { report }) }, { workflowId });
  }

  async #failedOf(batch: Run): Promise<BatchInput> {
    const { status } = await this.describe(batch);
    if (status.name === 'RUNNING')
      throw new CheckpointConfigError(`${idOf(batch)} is going on: retry it when it has ended, or cancel it (\`ckpt batch cancel\`).`);
    const ended = await this.settled(batch);
    const { results } = ended;
    if (results === null)
      throw new CheckpointConfigError(`The batch ${idOf(batch)} has left no results, so nobody knows what failed in it.`);
    if (ended.total === ended.completed + ended.unchanged)
      throw new CheckpointConfigError(
        `Nothing failed, was cancelled or not started in the batch ${idOf(batch)}: there is nothing to try again.`,
      );
    const history = await this.handle(batch).fetchHistory();
    const data = history.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    if (data == null)
      throw new CheckpointConfigError(
        `The history of the batch ${idOf(batch)} has no input: start a new batch with \`items: {failed_in: ${results}}\`.`,
      );
    const { carried: _carried, results: _results, ...input } = JSON.parse(Buffer.from(data).toString('utf8')) as ContinuedBatch;
    const most = borneAgain(input, ended);
    return { ...input, items: { failed_in: results }, ...(most === Infinity ? {} : { max_failures: most }) };
  }

  async #signal(batch: Run, name: string): Promise<void> {
    await this.describeRunning(batch, `there is nothing to ${name}`);
    await this.handle(batch)
      .signal(name)
      .catch(rejectNotFound(idOf(batch)));
  }

  protected override readonly workflowType = BATCH_WORKFLOW;

  protected override work(input: BatchInput): Work {
    return { kind: 'batch', input };
  }

  protected override bare(workflowId: string, _runId: string, ended: Ended<'failed' | 'cancelled'>): BatchResult {
    const counts = { total: 0, completed: 0, unchanged: 0, failed: 0, cancelled: 0, running: 0 };
    const nothing = { results: null, failures: [], failures_by_code: {}, rate: null, seconds_left: null };
    return { workflow_id: workflowId, ...counts, ...nothing, ...ended };
  }

  protected override async progress(result: BatchResult, description: WorkflowExecutionDescription): Promise<BatchProgress> {
    if (description.status.name !== 'RUNNING') return { ...result, retrying: null, waiting: null };
    const waiting = result.running === 0 ? { count: 0, ids: [] } : await waitingOf(this.access.client, description.workflowId);
    // Nobody knows when somebody answers.
    const left = waiting !== null && waiting.count > 0 ? { seconds_left: null } : {};
    return { ...result, ...left, retrying: retryingOf(description), waiting };
  }
}
