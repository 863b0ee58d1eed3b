/** The open question of a run that waits, in words. */
import type { Waiting } from '../../pipeline/contract.ts';

export function questionText(workflowId: string, { stage, error }: Waiting): readonly string[] {
  return [
    `Stage ${stage.index + 1} (${stage.type}) failed, and the run waits: ${error.message}`,
    `  Answer with \`ckpt resolve ${workflowId} --retry\` (also \`--set option=value\`), \`--skip\` or \`--abort\`.`,
  ];
}
