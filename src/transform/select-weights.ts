/** `weights_only`: header → plan with the state dict's tensors and nothing else. Pure, O(tensors). */
import { CheckpointIncompatibleError } from '../errors.ts';
import type { Header } from '../model/header.ts';
import type { LeftOut, Plan, PlannedTensor } from '../model/plan.ts';
import type { ValueTree } from '../model/value.ts';
import { carriedAlong } from './keep-training-state.ts';

export interface SelectOptions {
  /** Leave out tensors that have no plain dense form instead of failing. */
  readonly skipUnsupported: boolean;
}

/** Throws `CheckpointIncompatibleError` naming tensors without a dense form, unless they may be skipped. */
export function selectWeights(header: Header, options: SelectOptions): Plan {
  const tensors: PlannedTensor[] = [];
  const unsupported: LeftOut[] = [];
  for (const { name, tensor } of header.weights) {
    const origin = header.tensors[tensor]!;
    if (origin.unsupported !== undefined) unsupported.push({ what: name, reason: `unsupported: ${origin.unsupported}` });
    else tensors.push({ name, dtype: origin.dtype, shape: origin.shape, origin });
  }
  if (unsupported.length > 0 && !options.skipUnsupported) throw noDenseForm(unsupported);
  const nonTensors = header.nonTensors.map(({ name, is }) => ({ what: name, reason: 'not_a_tensor', details: { is } }));
  return {
    files: header.files,
    storages: header.storages,
    tensors,
    ...carriedAlong(header),
    frozen: [],
    skipped: [...unsupported, ...nonTensors],
    dropped: otherContent(header).map((what) => ({ what, reason: 'weights only' })),
    metadata: header.metadata,
  };
}

function noDenseForm(tensors: readonly LeftOut[]): CheckpointIncompatibleError {
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

function topLevelKeys(tree: ValueTree): readonly string[] {
  const root = tree.nodes[tree.root];
  if (typeof root !== 'object' || root === null || root.kind !== 'dict') return [];
  return root.entries.map(([key]) => String(tree.nodes[key]));
}
