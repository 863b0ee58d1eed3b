/** `ckpt status` and `ckpt cancel`. */
import { cancelRun, clientOf, queryStatus, waitForResult } from '../../client.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { errorText, logger, note, printJson, resultText, type OutputOptions } from '../output.ts';
import type { PipelineResult } from '../../../pipeline/contract.ts';
import type { Client } from '@temporalio/client';

export async function status(workflowId: string, options: OutputOptions): Promise<void> {
  await withRun(options, workflowId, (client) => queryStatus(client, workflowId));
}

export async function cancel(workflowId: string, options: OutputOptions): Promise<void> {
  await withRun(options, workflowId, async (client) => {
    await cancelRun(client, workflowId);
    return waitForResult(client, { workflowId, runId: '' });
  });
}

/** A query and a clean-up need a worker; where the server is ours, so is the worker. */
async function withRun(options: OutputOptions, workflowId: string, act: (client: Client) => Promise<PipelineResult>): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    const worker =
      temporal.kind === 'configured'
        ? null
        : await (await import('../../worker.ts')).startWorker({ connection: temporal.nativeOptions, namespace: temporal.namespace });
    try {
      const result = await act(clientOf(temporal.connection, temporal.namespace));
      const link =
        temporal.uiUrl === null ? null : `${temporal.uiUrl}/namespaces/${temporal.namespace}/workflows/${encodeURIComponent(workflowId)}`;
      if (options.json === true) printJson(result);
      else {
        process.stdout.write(`${resultText(result, link)}\n`);
        if (result.error !== null) note(errorText(result.error));
      }
    } finally {
      await worker?.stop();
    }
  } finally {
    await temporal.close();
  }
}
