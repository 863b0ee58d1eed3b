/** `ckpt batch run|status|retry|pause|resume|cancel`. */
import type { BatchResult } from '../../../pipeline/batch.ts';
import type { CheckpointBatches } from '../../batch-client.ts';
import type { StartedRun } from '../../start.ts';
import { readBatch } from '../batch-document.ts';
import { showProgress } from '../batch-progress.ts';
import { batchLines, emptyNote } from '../batch-text.ts';
import { documentSettings, type DocumentOptions } from '../document.ts';
import { interruptible } from '../interrupt.ts';
import { note, noteError, noteWarnings, print, printJson, type OutputOptions } from '../output.ts';
import { untilEnded, untilOurEnd, type OurRun } from '../until-end.ts';
import {
  clientOf,
  connect,
  linkOf,
  noteServerEnds,
  noteStarted,
  ownWorker,
  passingLinkOf,
  takesItsRuns,
  withServer,
} from '../with-server.ts';

interface BatchOptions extends OutputOptions, DocumentOptions {
  readonly detach?: boolean;
  readonly id?: string;
  readonly worker?: boolean;
  /** `--no-report`. */
  readonly report?: boolean;
}

export async function runBatch(file: string, options: BatchOptions): Promise<void> {
  const given = await readBatch(file, documentSettings(options, note));
  noteWarnings(given.pipeline);
  const input = { ...given, report: options.report !== false && given.report !== false };
  await go(options, {
    newId: async () => (await import('../../start.ts')).newId({ kind: 'batch', input }),
    start: (batches, settings) => batches.start(input, settings),
  });
}

export async function retryBatch(workflowId: string, options: BatchOptions): Promise<void> {
  await go(options, {
    newId: async () => (await import('../../batch-client.ts')).retryId(workflowId),
    start: (batches, settings) => batches.retry(workflowId, { ...settings, report: options.report !== false }),
  });
}

interface Starting {
  readonly newId: () => Promise<string>;
  readonly start: (batches: CheckpointBatches, settings: { readonly workflowId: string }) => Promise<StartedRun>;
}

async function go(options: BatchOptions, { newId, start }: Starting): Promise<void> {
  const temporal = await connect(options);
  try {
    const local = takesItsRuns(temporal, options);
    const { batch } = await clientOf(temporal);
    const worker = local ? await ownWorker(temporal, { plugins: options.plugins ?? [] }) : null;
    try {
      const workflowId = options.id ?? (await newId());
      await interruptible('batch', workflowId, async (interruption) => {
        const started = await start(batch, { workflowId });
        interruption.started(() => batch.cancel(started));
        if (options.detach === true && !interruption.asked()) noteStarted(temporal, { workflow_id: workflowId }, options);
        else await follow({ temporal, batch, started, worker, interruption }, options);
      });
    } finally {
      await worker?.stop();
    }
  } finally {
    await temporal.close();
  }
}

interface Followed extends OurRun {
  readonly batch: CheckpointBatches;
}

/** Says how the batch gets on, and how it ended. */
async function follow({ batch, ...run }: Followed, options: OutputOptions): Promise<void> {
  const { temporal, started } = run;
  const { workflowId } = started;
  const passing = passingLinkOf(temporal, workflowId);
  if (process.stderr.isTTY) note(`Batch ${workflowId}${passing === null ? '' : `: ${passing}`}`);
  const stop = showProgress(() => batch.status(started));
  const result = await untilOurEnd(run, { settled: () => batch.settled(started), status: () => batch.status(started) }).finally(stop);
  show(result, linkOf(temporal, workflowId), options);
  if (options.json !== true) noteServerEnds(temporal);
  process.exitCode = exitCode(result);
}

export async function batchStatus(workflowId: string, options: OutputOptions): Promise<void> {
  await withServer(options, async ({ client: { batch }, temporal }) =>
    show(await batch.status(workflowId), linkOf(temporal, workflowId), options),
  );
}

export async function tell(what: 'pause' | 'resume' | 'cancel', workflowId: string, options: OutputOptions): Promise<void> {
  await withServer(options, async ({ client: { batch }, temporal }) => {
    await batch[what](workflowId);
    const status = (): Promise<BatchResult> => batch.status(workflowId);
    const result = what === 'cancel' ? await untilEnded(workflowId, () => batch.settled(workflowId), status) : await status();
    show(result, linkOf(temporal, workflowId), options);
  });
}

function exitCode({ status, failed, cancelled, error }: BatchResult): number {
  if (status === 'completed' && failed + cancelled === 0) return 0;
  // The workflow has found wrong what this command could not see to be.
  return error?.type === 'CheckpointConfigError' ? 2 : 1;
}

function show(result: BatchResult, link: string | null, options: OutputOptions): void {
  if (options.json === true) {
    // Also for people: a batch that did nothing looks like a success.
    const empty = emptyNote(result);
    if (empty !== null) note(empty);
    return printJson(result);
  }
  print(batchLines(result, link));
  // Its status says so already, and words of a run would follow.
  if (result.error !== null && result.error.details['reason'] !== 'cancelled') noteError(result.error);
}
