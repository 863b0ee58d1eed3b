/** `ckpt batch run|status|retry|pause|resume|cancel`. */
import { randomUUID } from 'node:crypto';
import { CheckpointConfigError } from '../../../errors.ts';
import type { BatchInput, BatchResult } from '../../../pipeline/batch.ts';
import { failedOf, lookAtBatch, queryBatch, startBatch, tellBatch, waitForBatch } from '../../batch-client.ts';
import { clientOf } from '../../client.ts';
import { connectTemporal, type TemporalAccess } from '../../temporal/connect.ts';
import { readBatch } from '../batch-document.ts';
import { documentSettings, type DocumentOptions } from '../document.ts';
import { showProgress, progressLine } from '../batch-progress.ts';
import { onInterrupt } from '../interrupt.ts';
import { errorText, logger, note, printJson, type OutputOptions } from '../output.ts';
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
    try {
      const link = linkTo(temporal, workflowId);
      await startBatch(client, workflowId, await inputOf({ client, temporal }));
      if (options.detach === true) {
        if (options.json === true) printJson({ workflow_id: workflowId, link });
        else process.stdout.write(`Started ${workflowId}${link === null ? '' : `\n${link}`}\n`);
        return;
      }
      if (!local) note(`Waiting for the workers of ${temporal.address}; is one up? (\`ckpt worker\`, or \`--worker\` here)`);
      if (process.stderr.isTTY === true) note(`Batch ${workflowId}${link === null ? '' : `: ${link}`}`);
      const release = onInterrupt('batch', () => void tellBatch(client, workflowId, 'cancel').catch(() => undefined));
      const stop = showProgress(() => queryBatch(client, workflowId));
      const result = await Promise.race([
        waitForBatch(client, workflowId),
        ...(worker === null ? [] : [worker.ended.then(() => Promise.reject(new Error('the worker stopped')))]),
      ]).finally(() => {
        stop();
        release();
      });
      show(result, link, options);
      if (temporal.kind === 'embedded' && options.json !== true)
        note('The embedded server stops with this command; `ckpt dev` brings it and its UI back.');
      process.exitCode = exitCode(result);
    } finally {
      await worker?.stop();
    }
  } finally {
    await temporal.close();
  }
}

export async function batchStatus(workflowId: string, options: OutputOptions): Promise<void> {
  await withServer(options, async ({ client, temporal }) =>
    show(await lookAtBatch(client, workflowId), linkTo(temporal, workflowId), options),
  );
}

export async function tell(what: 'pause' | 'resume' | 'cancel', workflowId: string, options: OutputOptions): Promise<void> {
  await withServer(options, async ({ client, temporal }) => {
    await tellBatch(client, workflowId, what);
    const result = what === 'cancel' ? await waitForBatch(client, workflowId) : await queryBatch(client, workflowId);
    show(result, linkTo(temporal, workflowId), options);
  });
}

function exitCode({ status, failed, cancelled, error }: BatchResult): number {
  if (status === 'completed' && failed + cancelled === 0) return 0;
  // The workflow has found wrong what this command could not see to be.
  return error?.type === 'CheckpointConfigError' ? 2 : 1;
}

function linkTo({ uiUrl, namespace }: TemporalAccess, workflowId: string): string | null {
  return uiUrl === null ? null : `${uiUrl}/namespaces/${namespace}/workflows/${encodeURIComponent(workflowId)}`;
}

function show(result: BatchResult, link: string | null, options: OutputOptions): void {
  if (options.json === true) return printJson(result);
  const { workflow_id, status, total, failed, results, failures, error } = result;
  const lines = [
    `Batch ${workflow_id}: ${status}`,
    `  ${progressLine(result)}`,
    ...(total === 0 && status === 'completed' ? ['  Nothing was found to run: look at `items` and its `glob`.'] : []),
    ...(failed > failures.length ? [`  the last ${failures.length} of ${failed} failures:`] : []),
    ...failures.map(({ item, code, message }) => `  ✖ ${item}  ${code}: ${message.replaceAll('\n', ' ')}`),
    ...(results === null ? [] : [`  results ${results}`]),
    ...(failed > 0 && status !== 'running' ? [`  what failed, again: ckpt batch retry ${workflow_id}`] : []),
    ...(link === null ? [] : ['', `Batch in the Temporal UI: ${link}`]),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  if (error !== null) note(errorText(error));
}
