/** Waiting for a run that was asked to end: without a worker it goes on for ever. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointTimeoutError, isCheckpointError } from '../../errors.ts';
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

/** Rejects once no worker has told for a while how the run stands; what else a question fails with is for whoever waits for the end. */
export async function noWorkerEnds(workflowId: string, ask: () => Promise<unknown>, signal: AbortSignal): Promise<never> {
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
