/** Waiting for the end of a run: one that was asked to end goes on for ever without a worker. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointTimeoutError, isCheckpointError } from '../../errors.ts';
import type { TemporalAccess } from '../temporal/connect.ts';
import type { RunningWorker } from '../worker.ts';
import type { Interruption } from './interrupt.ts';
import { note } from './output.ts';

/** Milliseconds without a worker's answer after which nobody is waited for, a little less than a question takes; and between questions. */
const PATIENCE = 9000;
const PAUSE = 1000;

/** How a run that was asked to end has ended. */
export async function untilEnded<T>(workflowId: string, settled: () => Promise<T>, ask: () => Promise<unknown>): Promise<T> {
  note(`${workflowId} was asked to end. Waiting for a worker to remove what it had not finished …`);
  const ended = new AbortController();
  return Promise.race([settled(), noWorkerEnds(workflowId, ask, ended.signal)]).finally(() => ended.abort());
}

interface Followed<T> {
  readonly workflowId: string;
  /** The worker of this process; null where others take its work. */
  readonly worker: RunningWorker | null;
  readonly interruption: Interruption;
  /** Of the server. */
  readonly gone: TemporalAccess['gone'];
  readonly settled: () => Promise<T>;
  readonly status: () => Promise<unknown>;
}

/** How a run of this command has ended, which Ctrl-C asks for. */
export async function untilOurEnd<T>({ workflowId, worker, interruption, gone, settled, status }: Followed<T>): Promise<T> {
  const ended = new AbortController();
  return Promise.race([
    settled(),
    worker === null
      ? interruption.cancelled.then(() => noWorkerEnds(workflowId, status, ended.signal))
      : worker.ended.then(() => Promise.reject(new Error('the worker stopped'))),
    ...(gone === null ? [] : [gone(ended.signal)]),
  ]).finally(() => ended.abort());
}

/** Rejects once no worker has told for a while how the run stands; what else a question fails with is for whoever waits for the end. */
async function noWorkerEnds(workflowId: string, ask: () => Promise<unknown>, signal: AbortSignal): Promise<never> {
  let answered = Date.now();
  while (!signal.aborted) {
    try {
      await ask();
      answered = Date.now();
    } catch (error) {
      if (!isCheckpointError(error) || error.code !== 'CheckpointTimeoutError') answered = Date.now();
      else if (Date.now() - answered >= PATIENCE && !signal.aborted) throw unanswered(workflowId, error);
    }
    await sleep(PAUSE, undefined, { signal }).catch(() => undefined);
  }
  return new Promise(() => undefined);
}

function unanswered(workflowId: string, cause: unknown): CheckpointTimeoutError {
  return new CheckpointTimeoutError(
    `${workflowId} was asked to end, and there is no worker to end it. The request stands: the first worker that comes up (\`ckpt worker\`) cleans up and ends it.`,
    'cancel',
    PATIENCE / 1000,
    { cause, details: { workflow_id: workflowId } },
  );
}
