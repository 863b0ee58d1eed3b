/** `ckpt run`: the same workflow that schedules and services start, watched to its end. */
import { randomUUID } from 'node:crypto';
import { CheckpointConfigError } from '../../../errors.ts';
import type { PipelineInput } from '../../../pipeline/contract.ts';
import { onErrorOf } from '../../../pipeline/policy.ts';
import { cancelRun, clientOf, startPipeline, transferProgress, waitForResult } from '../../client.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { documentSettings, readDocument, type DocumentOptions } from '../document.ts';
import { onInterrupt } from '../interrupt.ts';
import { errorText, logger, note, printJson, resultText, type OutputOptions } from '../output.ts';
import { ProgressBar } from '../progress.ts';
import { watchQuestions } from '../questions.ts';

export interface RunOptions extends OutputOptions, DocumentOptions {
  readonly detach?: boolean;
  readonly id?: string;
  readonly worker?: boolean;
}

export async function run(file: string, options: RunOptions): Promise<void> {
  await runDocument(await readDocument(file, documentSettings(options, note)), options);
}

/** Runs a document that was checked against the catalog. */
export async function runDocument(document: PipelineInput, options: RunOptions): Promise<void> {
  // Loading the worker's code takes as long as bringing up a server: both at once. Where it is not wanted after all, so be it.
  const workerModule = options.detach === true ? undefined : import('../../worker.ts');
  workerModule?.catch(() => undefined);
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    if (options.detach === true && temporal.kind === 'embedded') {
      throw new CheckpointConfigError(
        '`--detach` needs a server and a worker that outlive this command: keep `ckpt dev` up in another terminal, or set TEMPORAL_ADDRESS.',
      );
    }
    const client = clientOf(temporal.connection, temporal.namespace);
    const workflowId = options.id ?? `${document.name ?? 'pipeline'}-${randomUUID().slice(0, 8)}`;
    const link =
      temporal.uiUrl === null ? null : `${temporal.uiUrl}/namespaces/${temporal.namespace}/workflows/${encodeURIComponent(workflowId)}`;
    const local = temporal.kind !== 'configured' || options.worker === true;
    const starting = startPipeline(client, workflowId, document, note);
    starting.catch(() => undefined);
    const worker =
      workerModule === undefined || !local
        ? null
        : await (
            await workerModule
          ).startWorker({
            connection: temporal.nativeOptions,
            namespace: temporal.namespace,
            plugins: options.plugins ?? [],
            oneRun: true,
            scaleOut: temporal.kind === 'configured',
          });
    try {
      const started = await starting;
      if (options.detach === true) {
        if (options.json === true) printJson({ workflow_id: workflowId, run_id: started.runId, link });
        else process.stdout.write(`Started ${workflowId}${link === null ? '' : `\n${link}`}\n`);
        return;
      }
      if (!local) note(`Waiting for the workers of ${temporal.address}; is one up? (\`ckpt worker\`, or \`--worker\` here)`);
      const release = onInterrupt('run', () => void cancelRun(client, workflowId).catch(() => undefined));
      const bar = new ProgressBar(() => transferProgress(client, workflowId));
      const unwatch = mayWait(document) ? watchQuestions(client, workflowId, note) : () => undefined;
      const result = await Promise.race([
        waitForResult(client, started),
        ...(worker === null ? [] : [worker.ended.then(() => Promise.reject(new Error('the worker stopped')))]),
      ]).finally(() => {
        bar.stop();
        unwatch();
        release();
      });
      if (options.json === true) printJson(result);
      else {
        process.stdout.write(`${resultText(result, link)}\n`);
        if (temporal.kind === 'embedded') note('The embedded server stops with this command; `ckpt dev` brings it and its UI back.');
        if (result.error !== null) note(errorText(result.error));
      }
      process.exitCode = result.status === 'failed' || result.status === 'cancelled' ? 1 : 0;
    } finally {
      await worker?.stop();
    }
  } finally {
    await temporal.close();
  }
}

function mayWait(document: PipelineInput): boolean {
  return document.stages.some((stage) => onErrorOf(document, stage) === 'wait');
}
