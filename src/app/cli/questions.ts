/** The open question of a run that waits: in words, and seen by whoever watches the run. */
import type { Client } from '@temporalio/client';
import type { Waiting } from '../../pipeline/contract.ts';
import { queryStatus } from '../client.ts';

/** Milliseconds between looks at a run that may wait. */
const INTERVAL = 2000;

export function questionText(workflowId: string, { stage, error }: Waiting): string {
  return [
    `Stage ${stage.index + 1} (${stage.type}) failed, and the run waits: ${error.message}`,
    `  Answer with \`ckpt resolve ${workflowId} --retry\` (also \`--set option=value\`), \`--skip\` or \`--abort\`.`,
  ].join('\n');
}

/** Says each question once, until stopped. */
export function watchQuestions(client: Client, workflowId: string, say: (text: string) => void): () => void {
  let said = '';
  let busy = false;
  const look = async (): Promise<void> => {
    const { waiting } = await queryStatus(client, workflowId);
    if (waiting === null || waiting.since === said) return;
    said = waiting.since;
    say(questionText(workflowId, waiting));
  };
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void look()
      .catch(() => undefined)
      .finally(() => (busy = false));
  }, INTERVAL);
  return () => clearInterval(timer);
}
