/** Waiting for the end of a run: one that was asked to end goes on for ever without a worker. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointTimeoutError, isCheckpointError } from '../../errors.ts';
import { TASK_QUEUE } from '../../pipeline/contract.ts';
import type { StartedRun } from '../start.ts';
import type { TemporalAccess } from '../temporal/connect.ts';
import type { RunningWorker } from '../worker.ts';
import type { Interruption } from './interrupt.ts';
import { note } from './output.ts';

/** Milliseconds without a worker's answer after which nobody is waited for, a little less than a question takes; and between questions. */
const PATIENCE = 9000;
const PAUSE = 1000;
/** Milliseconds after which a run that no worker has taken is said to wait: a server remembers workers that are gone for minutes. */
const TAKEN_WITHIN = 10_000;

/** How a run that was asked to end has ended. */
export async function untilEnded<T>(workflowId: string, settled: () => Promise<T>, ask: () => Promise<unknown>): Promise<T> {
  note(`${workflowId} was asked to end. Waiting for a worker to remove what it had not finished …`);
  const ended = new AbortController();
  return Promise.race([settled(), noWorkerEnds(workflowId, ask, ended.signal)]).finally(() => ended.abort());
}

/** A run, or a batch, that this command has started. */
export interface OurRun {
  readonly temporal: TemporalAccess;
  readonly started: StartedRun;
  /** The worker of this process; null where others take its work. */
  readonly worker: RunningWorker | null;
  readonly interruption: Interruption;
}

/** How a run of this command has ended, which Ctrl-C asks for; says where it waits for the workers of others. */
export async function untilOurEnd<T>(
  { temporal, started: { workflowId }, worker, interruption }: OurRun,
  { settled, status }: { readonly settled: () => Promise<T>; readonly status: () => Promise<unknown> },
): Promise<T> {
  const { kind, gone } = temporal;
  const ended = new AbortController();
  if (worker === null && kind === 'configured') noteWaiting(temporal, workflowId, ended.signal);
  return Promise.race([
    settled(),
    worker === null
      ? interruption.cancelled.then(() => noWorkerEnds(workflowId, status, ended.signal))
      : worker.ended.then(() => Promise.reject(new Error('the worker stopped'))),
    ...(gone === null ? [] : [gone(ended.signal)]),
  ]).finally(() => ended.abort());
}

/** Says that a run waits for the workers of others: at once where none asks for work, later where none has taken it. */
function noteWaiting(temporal: TemporalAccess, workflowId: string, over: AbortSignal): void {
  const nobody = `Waiting for the workers of ${temporal.address}; is one up? (\`ckpt worker\`, or \`--worker\` here)`;
  const waits = async (): Promise<string | null> => {
    const [{ hasBegun, pollersOf }, { passedOver, passedWords }] = await Promise.all([
      import('../temporal/visibility.ts'),
      import('../temporal/versions.ts'),
    ]);
    const known = await pollersOf(temporal, TASK_QUEUE).catch(() => []);
    if (known.length === 0) return nobody;
    await sleep(TAKEN_WITHIN, undefined, { signal: over });
    if (await hasBegun(temporal, workflowId)) return null;
    const passed = await passedOver(temporal, TASK_QUEUE).catch(() => null);
    if (passed === null) return nobody;
    const { message, advice } = passedWords(passed);
    return `Waiting for the workers of ${temporal.address}: ${message}. ${advice}`;
  };
  // A courtesy: how the run ends is learnt without it.
  void waits().then(
    (text) => (text !== null && !over.aborted ? note(text) : undefined),
    () => undefined,
  );
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
