/**
 * The tree that a torch file of a format holds: the weights under the format's key, and of the training state what the format
 * has a place for, under the names that its readers look for.
 *
 * Invariant: whatever is not taken over is named in `dropped`. Tensor nodes of the result count weights first, then those of
 * the training state.
 */
import { dictAt } from '../../model/dict-path.ts';
import type { Format } from '../../model/header.ts';
import { publishedMetadata, type LeftOut, type Plan } from '../../model/plan.ts';
import { graft, keyLabel } from '../../model/tree.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import { isLightnings } from './state-dict.ts';

export type TorchFormat = Exclude<Format, 'safetensors'>;

export interface Composed {
  readonly tree: ValueTree;
  readonly dropped: readonly LeftOut[];
}

const VERSION_KEY = 'pytorch-lightning_version';
/** For weights that no Lightning wrote: late enough that nothing is migrated. */
const VERSION = '2.0.0';
/** Lightning's names, those of torch's tutorial that its users follow, and what others call them. */
const OPTIMIZERS = ['optimizer_states', 'optimizer_state_dict', 'optimizer'] as const;
const SCHEDULERS = ['lr_schedulers', 'scheduler_state_dict', 'lr_scheduler', 'scheduler'] as const;
/** These may hold anything: only a dict is a state. */
const LOOSE: readonly string[] = ['optimizer', 'lr_scheduler', 'scheduler'];
const METADATA = 'metadata';
/** Where readers of both formats look for weights first. */
const FIRST_KEY = 'state_dict';

type Entry = readonly [key: NodeId, value: NodeId];

export function composeTree(plan: Plan, format: TorchFormat): Composed {
  const nodes: ValueNode[] = [];
  const dropped: LeftOut[] = [];
  const add = (node: ValueNode): NodeId => nodes.push(node) - 1;
  const state = plan.trainingState === undefined ? new Map<string, Entry>() : topLevel(plan.trainingState, nodes, plan.tensors.length);
  const weights = addWeights(plan, nodes);
  if (format === 'state_dict') {
    for (const key of state.keys()) dropped.push({ what: key, reason: 'a state dict has no place for it' });
    if (Object.keys(publishedMetadata(plan)).length > 0) dropped.push({ what: METADATA, reason: 'a state dict has no place for it' });
    return { tree: { root: weights, nodes }, dropped };
  }
  const entries = new Map<string, Entry>();
  const put = (key: string, value: NodeId): void => void entries.set(key, [add(key), value]);
  const listOf = (value: NodeId): NodeId => (itemsOf(nodes[value]) === undefined ? add({ kind: 'list', items: [value] }) : value);
  const alone = (value: NodeId): NodeId => {
    const items = itemsOf(nodes[value]);
    return items?.length === 1 ? items[0]! : value;
  };
  const taken = new Set<string>();
  /** The value under one of the names, or undefined. */
  const take = (...names: readonly string[]): NodeId | undefined => {
    const name = names.find((each) => state.has(each) && (!LOOSE.includes(each) || dictAt(nodes, state.get(each)![1]) !== undefined));
    if (name === undefined) return undefined;
    taken.add(name);
    return state.get(name)![1];
  };
  const weightsKey = format === 'lightning' ? FIRST_KEY : 'model_state_dict';
  const fromLightning = isLightnings(state);
  const optimizers = (): NodeId | undefined => take(...OPTIMIZERS);
  const schedulers = (): NodeId | undefined => take(...SCHEDULERS);
  if (format === 'lightning') {
    put('epoch', take('epoch') ?? add(0));
    put('global_step', take('global_step') ?? add(0));
    put(VERSION_KEY, take(VERSION_KEY) ?? add(VERSION));
    put(weightsKey, weights);
    // Where Lightning wrote it, its own order; else what Lightning looks for.
    if (!fromLightning) {
      for (const key of [...OPTIMIZERS, ...SCHEDULERS]) {
        if (!state.has(key) || nodes[state.get(key)![1]] !== null) continue;
        state.delete(key);
        dropped.push({ what: key, reason: 'None counts as absent' });
      }
      const [optimizer, scheduler] = [optimizers(), schedulers()];
      if (optimizer !== undefined) put(OPTIMIZERS[0], listOf(optimizer));
      // Its trainer refuses an optimizer without this key: of a training without schedulers it is an empty list.
      if (scheduler !== undefined) put(SCHEDULERS[0], listOf(scheduler));
      else if (optimizer !== undefined) put(SCHEDULERS[0], add({ kind: 'list', items: [] }));
    }
  } else {
    put(weightsKey, weights);
    // Lightning's lists are empty where there is none.
    for (const key of [OPTIMIZERS[0], SCHEDULERS[0]]) if (itemsOf(nodes[state.get(key)?.[1] ?? -1])?.length === 0) state.delete(key);
    // What has the name already keeps it, and its place.
    const optimizer = fromLightning || !state.has(OPTIMIZERS[1]) ? optimizers() : undefined;
    const scheduler = fromLightning || !state.has(SCHEDULERS[1]) ? schedulers() : undefined;
    const [epoch, step] = fromLightning ? [take('epoch'), take('global_step')] : [];
    if (optimizer !== undefined) put(OPTIMIZERS[1], alone(optimizer));
    if (scheduler !== undefined) put(SCHEDULERS[1], alone(scheduler));
    if (epoch !== undefined) put('epoch', epoch);
    if (step !== undefined) put('global_step', step);
  }
  const keepsAll = format === 'lightning' || !fromLightning;
  for (const [key, entry] of state) {
    if (taken.has(key)) continue;
    if (!keepsAll) dropped.push({ what: key, reason: 'the pytorch format has no place for it' });
    // Readers take what stands under the first of their keys for the weights, whatever stands under another.
    else if (entries.has(key) || key === FIRST_KEY) dropped.push({ what: key, reason: 'its key is taken by the weights or another part' });
    else entries.set(key, entry);
  }
  const metadata = Object.entries(publishedMetadata(plan));
  if (metadata.length > 0 && entries.has(METADATA)) dropped.push({ what: METADATA, reason: 'the training state has such a key' });
  else if (metadata.length > 0)
    put(METADATA, add({ kind: 'dict', entries: metadata.map(([key, value]) => [add(key), add(value)] as const) }));
  return { tree: { root: add({ kind: 'dict', entries: [...entries.values()] }), nodes }, dropped };
}

/** Takes the training state's nodes over, its tensors counted behind the weights, and gives its top level by key: each under a label of its own. */
function topLevel(tree: ValueTree, nodes: ValueNode[], weights: number): Map<string, Entry> {
  const top = dictAt(nodes, graft(nodes, tree, { storages: 0, tensors: weights }));
  if (top === undefined) throw new TypeError('a training state is a dict');
  const found = new Map<string, Entry>();
  for (const entry of top.entries) {
    let label = keyLabel(nodes, entry[0]);
    while (found.has(label)) label += "'";
    found.set(label, entry);
  }
  return found;
}

function addWeights(plan: Plan, nodes: ValueNode[]): NodeId {
  const entries = plan.tensors.map(({ name }, tensor): Entry => [nodes.push(name) - 1, nodes.push({ kind: 'tensor', tensor }) - 1]);
  const attributes =
    plan.stateDictAttributes === undefined ? undefined : graft(nodes, plan.stateDictAttributes, { storages: 0, tensors: 0 });
  return nodes.push({ kind: 'dict', class: 'OrderedDict', entries, ...(attributes === undefined ? {} : { attributes }) }) - 1;
}

function itemsOf(node: ValueNode | undefined): readonly NodeId[] | undefined {
  return typeof node === 'object' && node !== null && (node.kind === 'list' || node.kind === 'tuple') ? node.items : undefined;
}
