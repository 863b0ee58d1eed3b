/**
 * Attributes that torch sets on a tensor while it rebuilds it: those of a program are no part of its values, and told of; those that are the
 * tensor itself are refused. A file that gives `data` loads with other values than those it describes.
 */
import { attributeDicts } from '../../model/tensor-attributes.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { PickleSyntaxError } from '../pickle/cursor.ts';

/** What a tensor of torch has itself (properties of `torch.Tensor`, 2.9); none of it is ever in an instance's dict, which is what torch saves. */
const OWN: ReadonlySet<string> = new Set(
  (
    'H T _backward_hooks _base _cdata _grad _grad_fn _has_grad_dtype_override _has_symbolic_sizes_strides _post_accumulate_grad_hooks ' +
    '_python_dispatch _version data device dtype grad grad_dtype grad_fn imag is_cpu is_cuda is_ipu is_leaf is_maia is_meta is_mkldnn is_mps ' +
    'is_mtia is_nested is_quantized is_sparse is_sparse_csr is_vulkan is_xla is_xpu itemsize layout mH mT name nbytes ndim output_nr real ' +
    'requires_grad retains_grad shape volatile'
  ).split(' '),
);

/**
 * Gives the state where it has attributes; throws `PickleSyntaxError` for one that is more than attributes of a program. Many tensors may
 * share one: it is gone through once.
 */
export function stateChecker(nodes: readonly ValueNode[]): (state: NodeId | undefined, position: number) => NodeId | undefined {
  /** Entries that have been seen to be harmless: a dict may grow between two uses. */
  const checked = new Map<NodeId, number>();

  /** How many attributes it has. */
  function checkDict(id: NodeId, position: number): number {
    const node = nodes[id];
    if (node === null) return 0;
    if (typeof node !== 'object' || node?.kind !== 'dict')
      throw new PickleSyntaxError('the attributes of a tensor are not a dict', position);
    const { entries } = node;
    for (let at = checked.get(id) ?? 0; at < entries.length; at++) {
      const key = nodes[entries[at]![0]];
      if (typeof key !== 'string') throw new PickleSyntaxError('the name of an attribute of a tensor is not text', position);
      if (OWN.has(key) || (key.startsWith('__') && key.endsWith('__')))
        throw new PickleSyntaxError(`a tensor that is built with another \`${key.slice(0, 40)}\` than its own`, position, true);
    }
    if (entries.length > 0) checked.set(id, entries.length);
    return entries.length;
  }

  return (id, position) => {
    if (id === undefined) return undefined;
    let count = 0;
    for (const part of attributeDicts(nodes, id)) count += checkDict(part, position);
    return count === 0 ? undefined : id;
  };
}
