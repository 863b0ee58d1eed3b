/** `ckpt batch run|status|retry|pause|resume|cancel`. */
import type { BatchResult } from '../../../pipeline/batch.ts';
import type { CheckpointBatches } from '../../batch-client.ts';
import type { StartedRun } from '../../start.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { readBatch } from '../batch-document.ts';
import { documentSettings, type DocumentOptions } from '../document.ts';
import { logger, note, printJson, type OutputOptions } from '../output.ts';
import { checkStays, clientOf, withServer } from '../with-server.ts';

interface BatchOptions extends OutputOptions, DocumentOptions {
  readonly detach?: boolean;
  readonly id?: string;
  readonly worker?: boolean;
}

export async function runBatch(file: string, options: BatchOptions): Promise<void> {
  const input = await readBatch(file, documentSettings(options, note));
  await go(options, (batches) => batches.start(input, settingsOf(options)));
}

export async function retryBatch(workflowId: string, options: BatchOptions): Promise<void> {
  await go(options, (batches) => batches.retry(workflowId, settingsOf(options)));
}

function settingsOf({ id }: BatchOptions): { readonly workflowId?: string } {
  return id === undefined ? {} : { workflowId: id };
}

async function go(options: BatchOptions, start: (batches: CheckpointBatches) => Promise<StartedRun>): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    if (options.detach === true) checkStays(temporal, '`--detach`');
    const { batch } = clientOf(temporal);
    const local = options.detach !== true && (temporal.kind !== 'configured' || options.worker === true);
    const worker = local
      ? await (
          await import('../../worker.ts')
        ).startWorker({
          connection: temporal.nativeOptions,
          namespace: temporal.namespace,
          plugins: options.plugins ?? [],
          scaleOut: temporal.kind === 'configured',
        })
      : null;
    let interrupt = (): void => undefined;
    try {
      const started = await start(batch);
      const { workflowId } = started;
      interrupt = () => {
        note('Cancelling the batch …');
        void batch.cancel(workflowId).catch(() => undefined);
      };
      if (options.detach === true) {
        if (options.json === true) printJson({ workflow_id: workflowId });
        else process.stdout.write(`Started ${workflowId}\n`);
        return;
      }
      process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
      const result = await Promise.race([
        batch.settled(started),
        ...(worker === null ? [] : [worker.ended.then(() => Promise.reject(new Error('the worker stopped')))]),
      ]);
      show(result, options);
      process.exitCode = result.status === 'completed' && result.failed + result.cancelled === 0 ? 0 : 1;
    } finally {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
      await worker?.stop();
    }
  } finally {
    await temporal.close();
  }
}

export async function batchStatus(workflowId: string, options: OutputOptions): Promise<void> {
  await withServer(options, async ({ client: { batch } }) => show(await batch.status(workflowId), options));
}

export async function tell(what: 'pause' | 'resume' | 'cancel', workflowId: string, options: OutputOptions): Promise<void> {
  await withServer(options, async ({ client: { batch } }) => {
    await batch[what](workflowId);
    show(what === 'cancel' ? await batch.settled(workflowId) : await batch.status(workflowId), options);
  });
}

function show(result: BatchResult, options: OutputOptions): void {
  if (options.json === true) return printJson(result);
  const { workflow_id, status, total, completed, unchanged, failed, cancelled, running, results, failures, rate, seconds_left } = result;
  const pace = rate === null || running === 0 ? [] : [`  ${rate} items/s, ${seconds_left} s left`];
  const lines = [
    `Batch ${workflow_id}: ${status}`,
    `  ${total} items: ${completed} published, ${unchanged} unchanged, ${failed} failed, ${cancelled} cancelled, ${running} running`,
    ...pace,
    ...failures.map(({ item, code, message }) => `  ✖ ${item}  ${code}: ${message}`),
    ...(results === null ? [] : [`  results ${results}`]),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}
