/** The open question of a run that waits, in words. */
import type { Waiting } from '../../pipeline/contract.ts';
import { oneLine } from './visible.ts';

export function questionText(workflowId: string, { stage, error }: Waiting): string {
  return [
    `Stage ${stage.index + 1} (${stage.type}) failed, and the run waits: ${oneLine(error.message)}`,
    `  Answer with \`ckpt resolve ${workflowId} --retry\` (also \`--set option=value\`), \`--skip\` or \`--abort\`.`,
  ].join('\n');
}
