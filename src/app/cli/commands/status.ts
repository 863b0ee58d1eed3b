/** `ckpt status` and `ckpt cancel`. */
import type { Client } from '@temporalio/client';
import type { PipelineResult } from '../../../pipeline/contract.ts';
import { cancelRun, queryStatus, waitForResult } from '../../client.ts';
import { errorText, note, printJson, resultText, type OutputOptions } from '../output.ts';
import { questionText } from '../questions.ts';
import { withServer } from '../with-server.ts';

export async function status(workflowId: string, options: OutputOptions): Promise<void> {
  await withRun(options, workflowId, (client) => queryStatus(client, workflowId));
}

export async function cancel(workflowId: string, options: OutputOptions): Promise<void> {
  await withRun(options, workflowId, async (client) => {
    await cancelRun(client, workflowId);
    return waitForResult(client, { workflowId, runId: '' });
  });
}

async function withRun(options: OutputOptions, workflowId: string, act: (client: Client) => Promise<PipelineResult>): Promise<void> {
  await withServer(options, async ({ client, temporal }) => {
    const result = await act(client);
    const link =
      temporal.uiUrl === null ? null : `${temporal.uiUrl}/namespaces/${temporal.namespace}/workflows/${encodeURIComponent(workflowId)}`;
    if (options.json === true) return printJson(result);
    process.stdout.write(`${resultText(result, link)}\n`);
    if (result.waiting !== null) note(questionText(workflowId, result.waiting));
    if (result.error !== null) note(errorText(result.error));
  });
}
