/** `ckpt run`: the same workflow that schedules and services start, watched to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PipelineInput } from '../../../pipeline/contract.ts';
import type { CheckpointClient } from '../../client.ts';
import type { StartedRun } from '../../start.ts';
import { workerStorage } from '../../storage.ts';
import { documentSettings, readDocument, type DocumentOptions } from '../document.ts';
import { interruptible } from '../interrupt.ts';
import { note, noteError, noteWarnings, printJson, printPainted, resultText, type OutputOptions } from '../output.ts';
import { ProgressBar, retryingText } from '../progress.ts';
import { questionText } from '../questions.ts';
import { untilOurEnd, type OurRun } from '../until-end.ts';
import { clientOf, connect, linkOf, noteServerEnds, noteStarted, ownWorker, passingLinkOf, takesItsRuns } from '../with-server.ts';

/** Milliseconds between looks at a run; with a bar to be drawn. */
const INTERVAL = 2000;
const INTERVAL_OF_BAR = 500;

export interface RunOptions extends OutputOptions, DocumentOptions {
  readonly detach?: boolean;
  readonly id?: string;
  readonly worker?: boolean;
  /** `--no-report`; without it a document that says nothing of reports leaves them. */
  readonly report?: boolean;
}

export async function run(file: string, options: RunOptions): Promise<void> {
  const document = await readDocument(file, documentSettings(options, note));
  noteWarnings(document);
  await runDocument(document, options);
}

/** Runs a document that was checked against the catalog. */
export async function runDocument(given: PipelineInput, options: RunOptions): Promise<void> {
  const document = { ...given, report: options.report !== false && given.report !== false };
  const temporal = await connect(options);
  try {
    const local = takesItsRuns(temporal, options);
    const client = await clientOf(temporal);
    // Before the run is there, which a worker that does not come up would leave to others.
    const storage = local ? await workerStorage({ inputs: 'own' }) : null;
    const { newId } = await import('../../start.ts');
    const workflowId = options.id ?? newId({ kind: 'pipeline', input: document });
    await interruptible('run', workflowId, async (interruption) => {
      const starting = client.start(document, { workflowId });
      starting.then(
        () => interruption.started(() => client.cancel(workflowId)),
        () => undefined,
      );
      const worker = storage === null ? null : await ownWorker(temporal, { storage, plugins: options.plugins ?? [], oneRun: true });
      try {
        const started = await starting;
        if (options.detach === true && !interruption.asked())
          noteStarted(temporal, { workflow_id: workflowId, run_id: started.runId }, options);
        else await follow({ temporal, client, started, worker, interruption }, options);
      } finally {
        await worker?.stop();
      }
    });
  } finally {
    await temporal.close();
  }
}

interface Followed extends OurRun {
  readonly client: CheckpointClient;
}

/** Says how the run gets on, and how it ended. */
async function follow({ client, ...run }: Followed, options: OutputOptions): Promise<void> {
  const { temporal, started } = run;
  const { workflowId } = started;
  const passing = passingLinkOf(temporal, workflowId);
  if (process.stderr.isTTY && passing !== null) note(`Run ${workflowId}: ${passing}`);
  const watching = new AbortController();
  const bar = process.stderr.isTTY ? new ProgressBar() : null;
  void watch(client, started, bar, watching.signal);
  const result = await untilOurEnd(run, { settled: () => client.settled(started), status: () => client.status(started) }).finally(() => {
    watching.abort();
    bar?.stop();
  });
  if (options.json === true) printJson(result);
  else {
    printPainted(resultText(result, linkOf(temporal, workflowId)));
    noteServerEnds(temporal);
    if (result.error !== null) noteError(result.error);
  }
  process.exitCode = result.status === 'failed' || result.status === 'cancelled' ? 1 : 0;
}

/** Draws the transfer, and says once each question of the run and each attempt that a failed one is followed by. */
async function watch(client: CheckpointClient, run: StartedRun, bar: ProgressBar | null, signal: AbortSignal): Promise<void> {
  const said = new Set<string>();
  const say = (line: string | readonly string[], key: string): void => {
    if (said.has(key)) return;
    said.add(key);
    bar?.stop();
    note(line);
  };
  try {
    // Most runs have ended before somebody who reads lines would want one.
    if (bar === null) await sleep(INTERVAL, undefined, { signal });
    for await (const { transfer, waiting, retrying } of client.watch(run, {
      interval: bar === null ? INTERVAL : INTERVAL_OF_BAR,
      signal,
    })) {
      if (signal.aborted) return;
      if (transfer !== null) bar?.draw(transfer);
      if (retrying !== null) say(retryingText(retrying), retryingText(retrying));
      if (waiting !== null) say(questionText(run.workflowId, waiting), waiting.since);
    }
  } catch {
    // A courtesy: how the run ends is learnt without it.
  }
}
