/**
 * `warm_start` without a target: a plan of weights takes along everything that the file keeps beside its state dict.
 *
 * Invariant: linear in the tree; each tensor of the training state is planned once, under its first path, however often and
 * from wherever the tree refers to it. Pure.
 */
import type { Header } from '../model/header.ts';
import type { LeftOut, Plan, PlannedTensor } from '../model/plan.ts';
import type { NodeId, ValueNode, ValueTree } from '../model/value.ts';

/** Characters of a path in a name; deeper ones keep their end. */
const NAME_MAX = 400;

type Dict = Extract<ValueNode, { kind: 'dict' }>;

/** The plan with the header's training state; unchanged where the file holds nothing but weights. */
export function keepTrainingState(header: Header, plan: Plan): Plan {
  const { tree, stateDictKey } = header;
  const root = tree?.nodes[tree.root];
  if (tree === undefined || stateDictKey === null || !isDict(root)) return plan;
  const kept = root.entries.filter(([key]) => tree.nodes[key] !== stateDictKey);
  const texts = kept.filter(([key]) => typeof tree.nodes[key] === 'string');
  const unnamed: readonly LeftOut[] = kept
    .filter(([key]) => typeof tree.nodes[key] !== 'string')
    .map(([key]) => ({ what: String(tree.nodes[key]), reason: 'its key is no text' }));
  const names = new Set(plan.tensors.map(({ name }) => name));
  const tensors: PlannedTensor[] = [];
  const known = new Map<number, number>();
  const { root: top, nodes } = copyTree(tree, { kind: 'dict', entries: texts }, (tensor, path) => {
    let index = known.get(tensor);
    if (index !== undefined) return index;
    const origin = header.tensors[tensor]!;
    let name = path.length > NAME_MAX ? `…${path.slice(-NAME_MAX)}` : path;
    while (names.has(name)) name += "'";
    names.add(name);
    index = tensors.push({ name, dtype: origin.dtype, shape: origin.shape, origin }) - 1;
    known.set(tensor, index);
    return index;
  });
  return { ...plan, trainingState: { root: top, nodes }, stateTensors: tensors, dropped: unnamed };
}

/** What a module's state dict carries beside its tensors (`_metadata`), or undefined. */
export function stateDictAttributes(header: Header): ValueTree | undefined {
  const { tree, stateDictKey } = header;
  const root = tree?.nodes[tree.root];
  if (tree === undefined || !isDict(root)) return undefined;
  const held = stateDictKey === null ? root : root.entries.find(([key]) => tree.nodes[key] === stateDictKey)?.[1];
  const dict = typeof held === 'number' ? tree.nodes[held] : held;
  if (!isDict(dict) || dict.attributes === undefined) return undefined;
  const attributes = tree.nodes[dict.attributes];
  let plain = isDict(attributes);
  if (!isDict(attributes)) return undefined;
  const copy = copyTree(tree, attributes, () => {
    plain = false;
    return -1;
  });
  return plain ? copy : undefined;
}

/** The part of a tree below `top`, renumbered, with tensors as `tensor` counts them; breadth first, without recursion. */
function copyTree({ nodes }: ValueTree, top: Dict, tensor: (index: number, path: string) => number): ValueTree {
  const copied: ValueNode[] = [];
  const known = new Map<NodeId, NodeId>();
  const pending: { readonly from: ValueNode; readonly to: NodeId; readonly path: string }[] = [];
  const place = (from: ValueNode, path: string): NodeId => {
    const to = copied.push(null) - 1;
    pending.push({ from, to, path });
    return to;
  };
  const take = (id: NodeId, path: string): NodeId => {
    let to = known.get(id);
    if (to === undefined) known.set(id, (to = place(nodes[id]!, path)));
    return to;
  };
  const all = (ids: readonly NodeId[], path: string): readonly NodeId[] => ids.map((id, index) => take(id, `${path}[${index}]`));
  const pairs = (entries: Dict['entries'], path: string): Dict['entries'] =>
    entries.map(([key, value]) => [take(key, path), take(value, `${path}${path === '' ? '' : '.'}${keyText(nodes[key])}`)] as const);
  place(top, '');
  for (let next = 0; next < pending.length; next++) {
    const { from, to, path } = pending[next]!;
    copied[to] = from;
    if (typeof from !== 'object' || from === null) continue;
    switch (from.kind) {
      case 'list':
      case 'tuple':
      case 'set':
      case 'frozenset':
        copied[to] = { ...from, items: all(from.items, path) };
        break;
      case 'dict':
        copied[to] = {
          ...from,
          entries: pairs(from.entries, path),
          ...(from.attributes === undefined ? {} : { attributes: take(from.attributes, `${path}.__dict__`) }),
        };
        break;
      case 'plain':
        copied[to] = { ...from, value: take(from.value, path) };
        break;
      case 'complex':
        copied[to] = { ...from, real: take(from.real, path), imag: take(from.imag, path) };
        break;
      case 'object':
        copied[to] = {
          ...from,
          ...(from.args === undefined ? {} : { args: take(from.args, path) }),
          ...(from.kwargs === undefined ? {} : { kwargs: take(from.kwargs, path) }),
          ...(from.state === undefined ? {} : { state: take(from.state, path) }),
          ...(from.items === undefined ? {} : { items: all(from.items, path) }),
          ...(from.entries === undefined ? {} : { entries: pairs(from.entries, path) }),
        };
        break;
      case 'tensor':
        copied[to] = { kind: 'tensor', tensor: tensor(from.tensor, path) };
        break;
      default:
        break;
    }
  }
  return { root: 0, nodes: copied };
}

function isDict(node: ValueNode | undefined): node is Dict {
  return typeof node === 'object' && node !== null && node.kind === 'dict';
}

function keyText(node: ValueNode | undefined): string {
  if (typeof node === 'object' && node !== null) return node.kind === 'int' ? node.decimal : `<${node.kind}>`;
  return String(node).slice(0, 200);
}
