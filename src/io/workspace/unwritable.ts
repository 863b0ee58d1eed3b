/** A workspace that cannot be written, in words for whoever chose it. */
import { CheckpointError, CheckpointSourceError } from '../../errors.ts';
import { ended } from '../../model/text.ts';
import { isDiskFull } from '../local/full-disk.ts';

/** Whose choice a workspace is: the worker's own, by its configuration, or the document's. */
export type WorkspaceChoice = 'worker' | 'document';

const SETTINGS: Readonly<Record<WorkspaceChoice, string>> = {
  worker: 'CKPT_WORKSPACE of the worker',
  document: '`workspace` of the document',
};

/** For the folder; a full disk may have room again for the next attempt. */
export function unwritable(root: string, choice: WorkspaceChoice, cause: Error): CheckpointError {
  const setting = SETTINGS[choice];
  if (isDiskFull(cause))
    return new CheckpointError(
      `No room in the workspace ${root}: ${ended(cause.message)} Free some space there (\`ckpt gc\` removes what no run needs), or name another folder by ${setting}.`,
      { cause, details: { reason: 'workspace_full', path: root } },
    );
  return new CheckpointSourceError(
    `The workspace ${root} cannot be written: ${ended(cause.message)} Name a folder that all workers can write by ${setting}.`,
    root,
    { cause, details: { reason: 'workspace_unwritable' } },
  );
}
