/** Parts that loaders share: what is left out of a header, and the error for tensors without a dense form. */
import { CheckpointIncompatibleError } from '../errors.ts';
import type { Header } from '../model/header.ts';
import type { LeftOut } from '../model/plan.ts';
import { topLevelKeys } from '../model/tree.ts';

export function noDenseForm(tensors: readonly LeftOut[]): CheckpointIncompatibleError {
  const shown = tensors
    .slice(0, 5)
    .map(({ what, reason }) => `${what} (${reason})`)
    .join(', ');
  const rest = tensors.length > 5 ? ` and ${tensors.length - 5} more` : '';
  return new CheckpointIncompatibleError(
    `${tensors.length} of the tensors have no plain dense form: ${shown}${rest}. Leave them out with \`skip_unsupported: true\`.`,
    {
      details: { reason: 'unsupported_tensors', tensors: tensors.slice(0, 100).map(({ what, reason }) => ({ name: what, reason })) },
    },
  );
}

/** Names of what the file holds beside the state dict. */
export function otherContent(header: Header): readonly string[] {
  if (header.stateDictKey === null || header.tree === undefined) return [];
  return topLevelKeys(header.tree).filter((key) => key !== header.stateDictKey);
}
