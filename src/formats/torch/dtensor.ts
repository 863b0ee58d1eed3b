/**
 * A DTensor, of which a process saves its own part: the tensor itself where that is all of it, on one process or replicated.
 */
import type { Tensor } from '../../model/header.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { MAX_DIMENSIONS } from '../limits-pickle.ts';
import { PickleSyntaxError } from '../pickle/cursor.ts';
import { argumentsIn } from './arguments.ts';

/** Entries of what a DTensor and its spec hold: some ten. Very many tensors may share them. */
const FIELDS_MOST = 256;

/** What `_rebuild_wrapper_subclass` is given makes: its part, or why it cannot be told by that. Throws `PickleSyntaxError`. */
export function dtensor(
  [, type, argsId, stateId]: readonly NodeId[],
  { nodes, tensors }: { readonly nodes: readonly ValueNode[]; readonly tensors: readonly Tensor[] },
  position: number,
): Tensor | { readonly unsupported: string } {
  const { object, tuple, count } = argumentsIn(nodes);
  const name = object(type);
  // Of other wrappers only Python knows what they stand for.
  if (name?.kind !== 'global' || name.name !== 'DTensor') return { unsupported: 'wrapper_subclass' };
  // The values of its slots, which Python keeps apart from an instance's dict.
  const state = object(stateId);
  const slots = state?.kind === 'tuple' ? state.items[1] : stateId;
  const local = object(field(slots, '_local_tensor'));
  const tensor = local?.kind === 'tensor' ? tensors[local.tensor] : undefined;
  const spec = object(field(slots, '_spec'));
  if (tensor === undefined || spec?.kind !== 'object') throw new PickleSyntaxError('a DTensor without a local tensor and a spec', position);
  const placements = few(field(spec.state, 'placements'), 'the placements of a DTensor').map(object);
  const [, , sizeId] = tuple(argsId, 'builder arguments', position);
  const size = few(sizeId, 'a size').map((id) => count(id, 'a size', position));
  if (tensor.unsupported !== undefined) return { unsupported: tensor.unsupported };
  // Parts of a sum have the shape of the whole.
  if (placements.some((each) => each?.kind !== 'object' || /partial/i.test(each.name))) return { unsupported: 'dtensor_partial' };
  const isWhole = tensor.shape.length === size.length && tensor.shape.every((each, axis) => each === size[axis]);
  return isWhole ? tensor : { unsupported: 'dtensor_shard' };

  function field(id: NodeId | undefined, key: string): NodeId | undefined {
    const node = object(id);
    if (node?.kind !== 'dict') return undefined;
    if (node.entries.length > FIELDS_MOST)
      throw new PickleSyntaxError(`a DTensor with a dict of ${node.entries.length} entries, at most ${FIELDS_MOST}`, position);
    return node.entries.find(([name]) => nodes[name] === key)?.[1];
  }

  /** A tuple with a place for each dimension, of a tensor or of the devices. */
  function few(id: NodeId | undefined, what: string): readonly NodeId[] {
    const items = tuple(id, what, position);
    if (items.length > MAX_DIMENSIONS) throw new PickleSyntaxError(`${what} of ${items.length} items, at most ${MAX_DIMENSIONS}`, position);
    return items;
  }
}
