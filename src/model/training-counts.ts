/** How far a training had come, where its file keeps that in tensors. */
import { dictAt, entryOf } from './dict-path.ts';
import { dtypeKind, elementCount } from './dtype.ts';
import type { Header, Tensor } from './header.ts';

export type Count = 'epoch' | 'global_step';

/** The tensor of one number that stands in the count's place; undefined where the header has the number itself, or there is none. */
export function countTensor({ tree, tensors, training, stateDictKey }: Header, count: Count): Tensor | undefined {
  // A raw state dict may have a weight of such a name.
  if (tree === undefined || stateDictKey === null || training[count] !== null) return undefined;
  const root = dictAt(tree.nodes, tree.root);
  const value = root === undefined ? undefined : entryOf(tree.nodes, root, count)?.[1];
  const node = value === undefined ? undefined : tree.nodes[value];
  const tensor = typeof node === 'object' && node?.kind === 'tensor' ? tensors[node.tensor] : undefined;
  if (tensor === undefined || tensor.unsupported !== undefined || elementCount(tensor.shape) !== 1) return undefined;
  return ['float', 'integer'].includes(dtypeKind(tensor.dtype)) ? tensor : undefined;
}
