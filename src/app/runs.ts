/** What clients of pipelines and of batches have in common: starting a workflow, and how it stands and ends. */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError, WorkflowFailedError, type WorkflowExecutionDescription, type WorkflowHandle } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import { CheckpointConfigError, CheckpointNotFoundError, CheckpointTimeoutError, errorOf, type ErrorReport } from '../errors.ts';
import { BATCH_WORKFLOW } from '../pipeline/batch.ts';
import { PIPELINE_WORKFLOW, RESULT_MEMO, STATUS_QUERY } from '../pipeline/contract.ts';
import { checkRunId } from '../pipeline/names.ts';
import { endedByServer, rejectNotFound, reportOfCause, resultOfCause } from './failures.ts';
import { isUnanswered } from './no-answer.ts';
import { idOf, newId, startRun, type Access, type Run, type StartedRun, type Work } from './start.ts';
import { changes, type Look, type WatchOptions } from './watch.ts';

/** Waits this long, in milliseconds, for a query: with no worker up it would hang. */
const QUERY_DEADLINE = 10_000;
/** Milliseconds that a server may be away before whoever waits for a run gives up, and between looks. */
const AWAY_LONGEST = 600_000;
const AWAY_PAUSE = 1000;
/** Codes of gRPC: DEADLINE_EXCEEDED, UNAVAILABLE. */
const AWAY_CODES = [4, 14];
const KINDS: Readonly<Record<string, string>> = {
  [BATCH_WORKFLOW]: 'a batch, and not the run of a pipeline: its commands are those of `ckpt batch`, its methods those of `client.batch`',
  [PIPELINE_WORKFLOW]: 'the run of a pipeline, not a batch: leave out `batch` in the command, or in `client.batch`',
};
const CANCELLED: ErrorReport = { type: 'CheckpointError', message: 'The run was cancelled.', details: { reason: 'cancelled' } };

export interface StartSettings {
  /** Default: made from the name of the input. A running one with this id is a `CheckpointConfigError`. */
  readonly workflowId?: string;
}

export interface Ended<Status extends string = string> {
  readonly status: Status;
  readonly error: ErrorReport | null;
}

/** Runs of one workflow type: what is put in, what comes out, and what is seen of one under way. */
export abstract class Runs<Input, Result extends Ended, Progress extends Result> {
  protected readonly access: Access;

  constructor(access: Access) {
    this.access = access;
  }

  /** Its name on the server, and what such runs are called. */
  protected abstract readonly workflowType: string;
  protected abstract work(input: Input): Work;
  /** Of a run that has left nothing but how it ended. */
  protected abstract bare(workflowId: string, runId: string, ended: Ended<'failed' | 'cancelled'>): Result;
  protected abstract progress(result: Result, description: WorkflowExecutionDescription): Progress | Promise<Progress>;

  /** Starts a run, and does not wait for it. */
  async start(input: Input, { workflowId }: StartSettings = {}): Promise<StartedRun> {
    const work = this.work(input);
    if (workflowId !== undefined) checkRunId(workflowId);
    return startRun(this.access, work, workflowId ?? newId(work));
  }

  /** Starts a run and waits for its result; throws what it failed with. */
  async execute(input: Input, settings: StartSettings = {}): Promise<Result> {
    return this.result(await this.start(input, settings));
  }

  /** The result of a run that completes; a failed or cancelled one throws its error. */
  async result(run: Run): Promise<Result> {
    const result = await this.settled(run);
    if (result.status === 'failed' || result.status === 'cancelled') throw errorOf(result.error ?? CANCELLED);
    return result;
  }

  /** Waits for the end of a run; a failed or cancelled one gives its result all the same, with `error` set. */
  async settled(run: Run): Promise<Result> {
    try {
      const { client } = this.access;
      return (await this.untilClosed((signal) =>
        whileAway(() => client.withAbortSignal(signal, () => this.handle(run).result())),
      )) as Result;
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) return this.rejected(run)(error);
      const known = resultOfCause<Result>(error.cause);
      if (known !== null) return known;
      const { runId, memo } = await this.describe(run);
      const bare = (status: 'failed' | 'cancelled', report: ErrorReport): Result =>
        this.bare(idOf(run), typeof run === 'string' ? runId : (run.runId ?? runId), { status, error: report });
      if (!(error.cause instanceof CancelledFailure))
        return bare('failed', endedByServer(error.cause) ?? reportOfCause(error.cause, error.message));
      // Absent where it was cancelled before its first task.
      const left = memo?.[RESULT_MEMO] as Result | undefined;
      return left === undefined ? bare('cancelled', CANCELLED) : { ...left, error: left.error ?? CANCELLED };
    }
  }

  /** How a run stands; one that has ended tells it without a worker. `CheckpointNotFoundError` where there is no such run. */
  async status(run: Run): Promise<Progress> {
    const description = await this.describe(run);
    if (description.status.name !== 'RUNNING') return this.progress(await this.settled(run), description);
    const result = await this.query(run);
    // Described anew, as it may have ended meanwhile: then nothing of it is under way.
    return this.progress(result, await this.describe(run));
  }

  /** How a run stands whenever that changes, up to its end, whatever that is. */
  watch(run: Run, options: WatchOptions = {}): AsyncGenerator<Progress, void, void> {
    const look = async (): Promise<Look<Progress>> => {
      const description = await this.describe(run);
      const ended = description.status.name !== 'RUNNING';
      const result = await (ended ? this.settled(run) : this.query(run).catch(unlessTimeout));
      return { ended, state: result === null ? null : await this.progress(result, description) };
    };
    // What is asked when the watching ends must not be asked again later, perhaps on a closed connection.
    return changes((signal) => this.access.client.withAbortSignal(signal, look), options);
  }

  /** Asks a run to end; what it had not finished is removed. `settled` waits for that. */
  async cancel(run: Run): Promise<void> {
    await this.describeRunning(run, 'there is nothing to cancel');
    await this.handle(run).cancel().catch(this.rejected(run));
  }

  protected handle(run: Run): WorkflowHandle {
    // A batch goes on in further runs of its chain.
    const id = idOf(run);
    const options = typeof run === 'string' || run.runId === undefined ? {} : { firstExecutionRunId: run.runId };
    return this.access.client.workflow.getHandle(id, undefined, options);
  }

  /** What a call failed with, in words of ours. */
  private rejected(run: Run): (error: unknown) => Promise<never> {
    return async (error) => {
      // Throws where this client was closed meanwhile, of which a connection says nothing.
      this.handle(run);
      return rejectNotFound(idOf(run))(error);
    };
  }

  /** `CheckpointConfigError` where the run is of another kind: nothing it tells would be understood. */
  protected async describe(run: Run): Promise<WorkflowExecutionDescription> {
    const description = await this.handle(run).describe().catch(this.rejected(run));
    if (description.type === this.workflowType) return description;
    throw new CheckpointConfigError(
      `${idOf(run)} is ${Object.hasOwn(KINDS, description.type) ? KINDS[description.type] : `a workflow ${description.type}, none of ours`}.`,
    );
  }

  /** The SDK listens to a signal once more for each of its calls, and does not stop: one of its own for what may take hours. */
  private async untilClosed<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { ended } = this.access;
    const own = new AbortController();
    setMaxListeners(0, own.signal);
    const abort = (): void => own.abort();
    ended.addEventListener('abort', abort);
    return ask(own.signal).finally(() => ended.removeEventListener('abort', abort));
  }

  /** Like `describe`, but throws `CheckpointNotFoundError` once the run has ended: a server says the same of signals to ended runs and to unknown ones. */
  protected async describeRunning(run: Run, otherwise: string): Promise<WorkflowExecutionDescription> {
    const description = await this.describe(run);
    const { name } = description.status;
    if (name === 'RUNNING') return description;
    throw new CheckpointNotFoundError(`${idOf(run)} has ended (${name.toLowerCase()}): ${otherwise}.`, idOf(run));
  }

  private async query(run: Run): Promise<Result> {
    try {
      return await this.access.client.withDeadline(Date.now() + QUERY_DEADLINE, () => this.handle(run).query<Result>(STATUS_QUERY));
    } catch (error) {
      if (!isUnanswered(error)) return this.rejected(run)(error);
      throw new CheckpointTimeoutError(
        `No worker tells how ${idOf(run)} stands. Is one up on the task queue \`${this.access.taskQueue}\`? (\`ckpt worker\`)`,
        'status',
        QUERY_DEADLINE / 1000,
        { cause: error },
      );
    }
  }
}

/** A server that is restarted takes a while; whoever waits for hours is not to give up for it. */
async function whileAway<T>(ask: () => Promise<T>): Promise<T> {
  for (const began = Date.now(); ; await sleep(AWAY_PAUSE)) {
    try {
      return await ask();
    } catch (error) {
      const codes = [error, (error as { readonly cause?: unknown }).cause].map((one) => (isGrpcServiceError(one) ? one.code : null));
      const away = codes.some((code) => code !== null && AWAY_CODES.includes(code));
      if (!away || Date.now() - began > AWAY_LONGEST) throw error;
    }
  }
}

/** With no worker up there is nobody to tell; later there may be. */
function unlessTimeout(error: unknown): null {
  if (error instanceof CheckpointTimeoutError) return null;
  throw error;
}
