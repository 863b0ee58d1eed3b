/** `ckpt status` and `ckpt cancel`. */
import type { PipelineResult } from '../../../pipeline/contract.ts';
import type { CheckpointClient } from '../../client.ts';
import { note, noteError, printJson, printPainted, resultText, type OutputOptions } from '../output.ts';
import { questionText } from '../questions.ts';
import { untilEnded } from '../until-end.ts';
import { linkOf, withServer } from '../with-server.ts';

export async function status(workflowId: string, options: OutputOptions): Promise<void> {
  await withRun(options, workflowId, (client) => client.status(workflowId));
}

export async function cancel(workflowId: string, options: OutputOptions): Promise<void> {
  await withRun(options, workflowId, async (client) => {
    await client.cancel(workflowId);
    return untilEnded(
      workflowId,
      () => client.settled(workflowId),
      () => client.status(workflowId),
    );
  });
}

async function withRun(
  options: OutputOptions,
  workflowId: string,
  act: (client: CheckpointClient) => Promise<PipelineResult>,
): Promise<void> {
  await withServer(options, async ({ client, temporal }) => {
    const result = await act(client);
    if (options.json === true) return printJson(result);
    printPainted(resultText(result, linkOf(temporal, workflowId)));
    if (result.waiting !== null) note(questionText(workflowId, result.waiting));
    if (result.error !== null) noteError(result.error);
  });
}
