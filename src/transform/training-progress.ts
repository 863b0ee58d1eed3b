/** How far a training had come, for the record of `warm_start`: epoch, step, best metric and history, and what is not there. */
import type { Json, JsonObject } from '../errors.ts';
import { dtypeKind, elementCount } from '../model/dtype.ts';
import type { Header, Tensor } from '../model/header.ts';
import { keyLabel } from '../model/tree.ts';
import type { NodeId, ValueTree } from '../model/value.ts';
import { fieldsOf, valueAt } from './tree.ts';

/** Characters of a metrics history's JSON: what is longer stays in the published file alone. */
const LONGEST_HISTORY = 2000;
/** Values looked at of a metrics history. */
const MOST_VALUES = 500;

/**
 * A missing or null epoch counts as 0; `best_metric` and `metrics_history` are there only if the file has a value. `read`: what
 * `bestTensor` holds, where that has been read.
 */
export function trainingProgress(header: Header, read?: number): JsonObject {
  const { training, tree } = header;
  const found = bestIn(header);
  const best = typeof found === 'number' ? found : read;
  const history = tree === undefined ? undefined : plainJson(tree, valueAt(tree, ['metrics_history']));
  const filled = history !== undefined && history !== null && Object.keys(history).length > 0;
  const absent = [
    ...(training.has_optimizer ? [] : [training.has_scheduler ? 'optimizer state, but scheduler state' : 'optimizer state']),
    ...(training.has_scheduler ? [] : ['scheduler state']),
  ];
  return {
    epoch: training.epoch ?? 0,
    global_step: training.global_step ?? 0,
    ...(best === undefined ? {} : { best_metric: best }),
    ...(filled && JSON.stringify(history).length <= LONGEST_HISTORY ? { metrics_history: history } : {}),
    ...(absent.length === 0 ? {} : { warnings: absent.map((what) => `the checkpoint has no ${what}`) }),
  };
}

/** The tensor of one element that holds the best metric; undefined where that is a number in the pickle, or nowhere. */
export function bestTensor(header: Header): Tensor | undefined {
  const found = bestIn(header);
  return typeof found === 'number' ? undefined : found;
}

/** `best_metric`, or else the first best score that a checkpoint callback kept: Lightning's are tensors. */
function bestIn({ tree, tensors }: Header): number | Tensor | undefined {
  if (tree === undefined) return undefined;
  for (const id of [valueAt(tree, ['best_metric']), ...bestScores(tree)]) {
    const best = numberAt(tree, id) ?? scalarAt(tree, id, tensors);
    if (best !== undefined) return best;
  }
  return undefined;
}

function bestScores(tree: ValueTree): readonly (NodeId | undefined)[] {
  const callbacks = valueAt(tree, ['callbacks']);
  if (callbacks === undefined) return [];
  return [...fieldsOf(tree, callbacks)].flatMap(([name, state]) =>
    /checkpoint/i.test(name) ? [valueAt(tree, ['best_model_score'], state)] : [],
  );
}

/** A float tensor of one element. */
function scalarAt(tree: ValueTree, id: NodeId | undefined, tensors: readonly Tensor[]): Tensor | undefined {
  const node = id === undefined ? undefined : tree.nodes[id];
  const tensor = typeof node === 'object' && node?.kind === 'tensor' ? tensors[node.tensor] : undefined;
  if (tensor === undefined || tensor.unsupported !== undefined) return undefined;
  return dtypeKind(tensor.dtype) === 'float' && elementCount(tensor.shape) === 1 ? tensor : undefined;
}

function numberAt(tree: ValueTree, id: NodeId | undefined): number | undefined {
  const node = id === undefined ? undefined : tree.nodes[id];
  if (typeof node === 'number') return node;
  return typeof node === 'object' && node?.kind === 'float' && typeof node.value === 'number' ? node.value : undefined;
}

/** Dicts and lists of numbers and texts, two levels deep; undefined for anything else. */
function plainJson(tree: ValueTree, id: NodeId | undefined, depth = 0): Json | undefined {
  const node = id === undefined ? undefined : tree.nodes[id];
  if (node === undefined || depth > 2) return undefined;
  if (node === null || typeof node !== 'object') return node;
  if (node.kind === 'float') return typeof node.value === 'number' ? node.value : String(node.value);
  if (node.kind === 'list' || node.kind === 'tuple') {
    if (node.items.length > MOST_VALUES) return undefined;
    const items = node.items.map((item) => plainJson(tree, item, depth + 1));
    return items.includes(undefined) ? undefined : (items as Json[]);
  }
  if (node.kind !== 'dict' || node.entries.length > MOST_VALUES) return undefined;
  const entries = node.entries.map(([key, value]) => [keyLabel(tree.nodes, key), plainJson(tree, value, depth + 1)] as const);
  // JSON has texts as keys: what would be lost there for another's label has no such form.
  const isWhole = entries.every(([, value]) => value !== undefined) && new Set(entries.map(([key]) => key)).size === entries.length;
  return isWhole ? (Object.fromEntries(entries) as JsonObject) : undefined;
}
