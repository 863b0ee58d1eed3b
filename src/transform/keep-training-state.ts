/**
 * `warm_start` without a target: a plan of weights takes along everything that the file keeps beside its state dict.
 *
 * Invariant: linear in the tree; each tensor of the training state is planned once, under its first path, however often and
 * from wherever the tree refers to it. Pure.
 */
import { dictAt, stepsToStateDict, type Dict } from '../model/dict-path.ts';
import type { Header } from '../model/header.ts';
import type { LeftOut, Plan, PlannedTensor } from '../model/plan.ts';
import { keyLabel, mapChildren, type Role } from '../model/tree.ts';
import { ATTRIBUTES, attributesText } from '../model/tensor-attributes.ts';
import type { NodeId, ValueNode, ValueTree } from '../model/value.ts';
import { contentBeside } from './left-out.ts';

/** Characters of a path in a name; deeper ones keep their end. */
const NAME_MAX = 400;
type TensorNode = Extract<ValueNode, { kind: 'tensor' }>;

/** Keys of the top level that are numbers to whoever resumes. */
const COUNTS: ReadonlySet<ValueNode | undefined> = new Set(['epoch', 'global_step']);

/** The plan with the header's training state; unchanged where the file holds nothing but weights. */
export function keepTrainingState(header: Header, plan: Plan): Plan {
  const { tree, stateDictKey } = header;
  if (tree === undefined || stateDictKey === null) return plan;
  const root = dictAt(tree.nodes, tree.root);
  if (root === undefined) return plan;
  const [outermost] = stepsToStateDict(header);
  const kept = root.entries.filter((entry) => entry !== outermost?.entry);
  const texts = kept.filter(([key]) => typeof tree.nodes[key] === 'string');
  const unnamed: readonly LeftOut[] = kept
    .filter(([key]) => typeof tree.nodes[key] !== 'string')
    .map(([key]) => ({ what: keyLabel(tree.nodes, key), reason: 'its key is not text' }));
  const deeper = contentBeside(header)
    .slice(1)
    .flatMap((names) => names.map((what): LeftOut => ({ what, reason: 'it lies beside the weights, not at the top level' })));
  const names = new Set(plan.tensors.map(({ name }) => name));
  const tensors: PlannedTensor[] = [];
  const known = new Map<number, number>();
  const attributes: LeftOut[] = [];
  const { root: top, nodes } = copyTree(tree, { kind: 'dict', entries: texts }, ({ tensor, ...node }, path) => {
    let index = known.get(tensor);
    if (index !== undefined) return index;
    const origin = header.tensors[tensor]!;
    let name = path.length > NAME_MAX ? `…${path.slice(-NAME_MAX)}` : path;
    while (names.has(name)) name += "'";
    names.add(name);
    index = tensors.push({ name, dtype: origin.dtype, shape: origin.shape, origin }) - 1;
    known.set(tensor, index);
    const reason = attributesText(tree.nodes, node.attributes);
    if (reason !== undefined) attributes.push({ what: `${name}.${ATTRIBUTES}`, reason });
    return index;
  });
  return {
    ...plan,
    trainingState: withCounts({ root: top, nodes }),
    stateTensors: tensors,
    dropped: [...unnamed, ...deeper, ...attributes],
  };
}

/** Of a null epoch or step, as of a missing one, a training goes on from 0: the published file says what the record says. */
function withCounts({ root, nodes }: ValueTree): ValueTree {
  const top = nodes[root] as Dict;
  const isNull = ([key, value]: Dict['entries'][number]): boolean => COUNTS.has(nodes[key]) && nodes[value] === null;
  if (!top.entries.some(isNull)) return { root, nodes };
  const counted = { ...top, entries: top.entries.map((entry) => (isNull(entry) ? ([entry[0], nodes.length] as const) : entry)) };
  return { root, nodes: [...nodes.map((node, id) => (id === root ? counted : node)), 0] };
}

/** What goes along with the weights wherever a format has a place for it, training state or not. */
export function carriedAlong(header: Header): Pick<Plan, 'stateDictAttributes' | 'attachments'> {
  const attributes = stateDictAttributes(header);
  return {
    ...(attributes === undefined ? {} : { stateDictAttributes: attributes }),
    ...(header.attachments === undefined ? {} : { attachments: header.attachments }),
  };
}

/** What a module's state dict carries beside its tensors (`_metadata`), or undefined. */
function stateDictAttributes(header: Header): ValueTree | undefined {
  const { tree } = header;
  if (tree === undefined) return undefined;
  const dict = dictAt(tree.nodes, stepsToStateDict(header).at(-1)?.entry[1] ?? tree.root);
  const attributes = dictAt(tree.nodes, dict?.attributes);
  if (attributes === undefined) return undefined;
  let plain = true;
  const copy = copyTree(tree, attributes, () => {
    plain = false;
    return -1;
  });
  return plain ? copy : undefined;
}

/** The part of a tree below `top`, renumbered, with tensors as `tensor` counts them; breadth first, without recursion. */
function copyTree({ nodes }: ValueTree, top: Dict, tensor: (node: TensorNode, path: string) => number): ValueTree {
  const copied: ValueNode[] = [];
  const known = new Map<NodeId, NodeId>();
  /** Of each copied node: what it is a copy of, where it was first met, and as what. */
  const from: ValueNode[] = [top];
  const parents: NodeId[] = [-1];
  const steps: (string | number)[] = [''];
  const take = (id: NodeId, parent: NodeId, role: Role, at: number): NodeId => {
    let to = known.get(id);
    if (to !== undefined) return to;
    known.set(id, (to = from.push(nodes[id]!) - 1));
    parents.push(parent);
    steps.push(stepOf(nodes, role, at));
    return to;
  };
  const pathOf = (id: NodeId): string => {
    const path: string[] = [];
    for (let at = id; at > 0; at = parents[at]!) {
      const step = steps[at]!;
      path.push(typeof step === 'number' ? `[${step}]` : parents[at] === 0 ? step : `.${step}`);
    }
    return path.toReversed().join('');
  };
  for (let to = 0; to < from.length; to++) {
    const node = from[to]!;
    const isTensor = typeof node === 'object' && node?.kind === 'tensor';
    copied.push(
      isTensor ? { kind: 'tensor', tensor: tensor(node, pathOf(to)) } : mapChildren(node, (id, role, at) => take(id, to, role, at)),
    );
  }
  return { root: 0, nodes: copied };
}

/** How a value stands in the one that holds it, as a part of a path. */
function stepOf(nodes: readonly ValueNode[], role: Role, at: number): string | number {
  switch (role) {
    case 'item':
      return at;
    case 'key':
      return '';
    case 'value':
      return keyLabel(nodes, at);
    case 'attributes':
      return ATTRIBUTES;
    case 'content':
      return 'value';
    default:
      return role;
  }
}
