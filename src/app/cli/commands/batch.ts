/** `ckpt batch run|status|retry|pause|resume|cancel`. */
import { randomUUID } from 'node:crypto';
import { CheckpointConfigError } from '../../../errors.ts';
import type { BatchInput, BatchResult } from '../../../pipeline/batch.ts';
import { failedOf, queryBatch, startBatch, tellBatch, waitForBatch } from '../../batch-client.ts';
import { clientOf } from '../../client.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { readBatch } from '../batch-document.ts';
import { documentSettings, type DocumentOptions } from '../document.ts';
import { logger, note, printJson, type OutputOptions } from '../output.ts';
import { withServer, type Server } from '../with-server.ts';

interface BatchOptions extends OutputOptions, DocumentOptions {
  readonly detach?: boolean;
  readonly id?: string;
  readonly worker?: boolean;
}

export async function runBatch(file: string, options: BatchOptions): Promise<void> {
  const input = await readBatch(file, documentSettings(options, note));
  await go(options, options.id ?? `${input.name ?? 'batch'}-${randomUUID().slice(0, 8)}`, async () => input);
}

export async function retryBatch(workflowId: string, options: BatchOptions): Promise<void> {
  const id = options.id ?? `${workflowId.replace(/-retry-[0-9a-f]{8}$/, '')}-retry-${randomUUID().slice(0, 8)}`;
  await go(options, id, ({ client }) => failedOf(client, workflowId));
}

async function go(options: BatchOptions, workflowId: string, inputOf: (server: Server) => Promise<BatchInput>): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    if (options.detach === true && temporal.kind === 'embedded')
      throw new CheckpointConfigError(
        '`--detach` needs a server and a worker that outlive this command: keep `ckpt dev` up in another terminal, or set TEMPORAL_ADDRESS.',
      );
    const client = clientOf(temporal.connection, temporal.namespace);
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
    const interrupt = (): void => {
      note('Cancelling the batch …');
      void tellBatch(client, workflowId, 'cancel').catch(() => undefined);
    };
    try {
      await startBatch(client, workflowId, await inputOf({ client, temporal }));
      if (options.detach === true) {
        if (options.json === true) printJson({ workflow_id: workflowId });
        else process.stdout.write(`Started ${workflowId}\n`);
        return;
      }
      process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
      const result = await Promise.race([
        waitForBatch(client, workflowId),
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
  await withServer(options, async ({ client }) => show(await queryBatch(client, workflowId), options));
}

export async function tell(what: 'pause' | 'resume' | 'cancel', workflowId: string, options: OutputOptions): Promise<void> {
  await withServer(options, async ({ client }) => {
    await tellBatch(client, workflowId, what);
    show(what === 'cancel' ? await waitForBatch(client, workflowId) : await queryBatch(client, workflowId), options);
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
