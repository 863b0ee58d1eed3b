/** Which variable is where in the model's tensors, from `hyper_parameters.data_indices`; absent or unreadable: undefined, no error. */
import type { JsonObject } from '../errors.ts';
import type { Header } from '../model/header.ts';
import type { NodeId, ValueTree } from '../model/value.ts';
import { fieldsOf, valueAt } from './tree.ts';

/** One dataset's `name_to_index`, or a map of them by dataset. */
export function nameToIndex(header: Header): JsonObject | undefined {
  const { tree } = header;
  const indices = tree === undefined ? undefined : valueAt(tree, ['hyper_parameters', 'data_indices']);
  if (tree === undefined || indices === undefined) return undefined;
  const own = valueAt(tree, ['name_to_index'], indices);
  if (own !== undefined) return mapOf(tree, own);
  const node = tree.nodes[indices];
  if (typeof node !== 'object' || node === null || node.kind !== 'dict' || node.entries.length === 0) return undefined;
  const datasets: [string, JsonObject][] = [];
  for (const [dataset, value] of fieldsOf(tree, indices)) {
    const map = valueAt(tree, ['name_to_index'], value);
    const known = map === undefined ? undefined : mapOf(tree, map);
    if (known === undefined) return undefined;
    datasets.push([dataset, known]);
  }
  return datasets.length === 0 ? undefined : Object.fromEntries(datasets);
}

function mapOf(tree: ValueTree, id: NodeId): JsonObject | undefined {
  const entries: [string, number][] = [];
  for (const [name, value] of fieldsOf(tree, id)) {
    const index = tree.nodes[value];
    if (typeof index !== 'number') return undefined;
    entries.push([name, index]);
  }
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
