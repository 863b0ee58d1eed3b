/**
 * Which format a checkpoint has and where its state dict lies, by content only.
 *
 * Invariant: the key that is asked for decides, else the first rule that fits; a key that is there but holds no mapping is an error,
 * never skipped over.
 */
import { CheckpointValidationError, type JsonObject } from '../../errors.ts';
import { dictAt, keyText, stepsToStateDict, type Dict } from '../../model/dict-path.ts';
import type { Attribute, Format, Header, NonTensor, Tensor, TrainingSummary, Weight } from '../../model/header.ts';
import { ATTRIBUTES, attributesText } from '../../model/tensor-attributes.ts';
import type { GlobalUse, NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import { judge } from '../pickle/globals.ts';
import { nestedTensors } from './nested-tensors.ts';
import { numpyValue } from './numpy.ts';
import { followKeys, keyAdvice, KEY_OPTION, keysWithTensors } from './state-dict-key.ts';

const STATE_DICT_KEYS = ['state_dict', 'model_state_dict', 'model'] as const;
const LIGHTNING_VERSION = 'pytorch-lightning_version';
const LIGHTNING_MARKS = ['callbacks', 'optimizer_states', 'lr_schedulers', 'loops'];
const PYTORCH_MARKS = ['model_state_dict', 'optimizer_state_dict', 'scheduler_state_dict'];
const FORMAT_MARKS = new Set([LIGHTNING_VERSION, ...LIGHTNING_MARKS, ...PYTORCH_MARKS]);

/** The key of what `Module.get_extra_state` gave. */
const EXTRA_STATE = /(^|\.)_extra_state$/;

export interface StateDict {
  readonly format: Format;
  readonly stateDictKey: string | null;
  readonly stateDictPath?: readonly string[];
  readonly weights: readonly Weight[];
  readonly nonTensors: readonly NonTensor[];
  readonly attributes?: readonly Attribute[];
  readonly training: TrainingSummary;
}

/**
 * Finds the state dict of a tree, under the key that is `asked` for if there is one (dotted; empty: the root); throws
 * `CheckpointValidationError` with a hint where there is none.
 */
export function findStateDict(
  tree: ValueTree,
  tensors: readonly Tensor[],
  uri: string,
  globals: readonly GlobalUse[] = [],
  asked?: string,
): StateDict {
  const unknown = globals
    .filter(({ verdict }) => verdict === 'unknown')
    .slice(0, 100)
    .map(({ module, name, verdict, member, position }) => ({ module, name, verdict, member, position }));
  const blamed = { details: { globals: unknown } };
  const { nodes } = tree;
  const root = dictAt(nodes, tree.root);
  if (root === undefined)
    throw new CheckpointValidationError(
      `${uri} holds ${describe(nodes[tree.root])}, expected a dict. ${isModule(nodes, tree.root) ? 'It is a pickled whole module' : 'It is probably no model checkpoint'}: save model.state_dict() instead.`,
      ['content is not a mapping'],
      blamed,
    );
  // What a module's `get_extra_state` gives stands among its tensors.
  const others = root.entries.filter((entry) => !isTensor(nodes[entry[1]]));
  const isRaw = others.length < root.entries.length && others.every(([key]) => EXTRA_STATE.test(keyText(nodes[key]) ?? ''));
  const raw = asked === undefined ? isRaw : asked === '';
  const top = new Map<string, NodeId>();
  // Where there may be very many, pairs are taken by their places: to take them apart goes through an iterator for each.
  for (let at = 0; at < root.entries.length; at++) {
    const entry = root.entries[at]!;
    const key = entry[0];
    const value = entry[1];
    const text = shownKey(nodes[key]);
    // A raw state dict may have very many keys: only those count that mark a format.
    if (!raw || FORMAT_MARKS.has(text)) top.set(text, value);
  }
  const format: Format = isLightnings(top) ? 'lightning' : PYTORCH_MARKS.some((key) => top.has(key)) || !raw ? 'pytorch' : 'state_dict';
  // A raw state dict may have a parameter of such a name: a tensor is not a wrapper.
  const found = raw ? undefined : STATE_DICT_KEYS.find((each) => top.has(each));
  if (asked === undefined && found === undefined && !raw) throw noStateDict(tree, top, uri);
  const { keys, dict } = dictUnder(tree, asked ?? found ?? '', uri, blamed.details);
  const key = keys.length === 0 ? null : keys.join('.');
  const weights: Weight[] = [];
  const nonTensors: NonTensor[] = [];
  const attributes: Attribute[] = [];
  const tensorsIn = nestedTensors(nodes, tensors);
  // Texts differ, as they are keys of one dict: only of keys that are none may two give one name.
  const names = dict.entries.every((entry) => typeof nodes[entry[0]] === 'string') ? null : new Set<string>();
  for (let at = 0; at < dict.entries.length; at++) {
    const entry = dict.entries[at]!;
    const id = entry[0];
    const value = entry[1];
    const name = keyText(nodes[id]);
    if (name === undefined)
      throw new CheckpointValidationError(`${uri}: the state dict has a key that is ${describe(nodes[id])}, expected a name.`, [
        'state dict key is not text',
      ]);
    if (names?.has(name) === true)
      throw new CheckpointValidationError(`${uri}: two keys of the state dict give the name ${JSON.stringify(name)}.`, ['duplicate name']);
    names?.add(name);
    const node = nodes[value];
    if (isTensor(node)) {
      weights.push({ name, tensor: node.tensor });
      const is = attributesText(nodes, node.attributes);
      if (is === undefined) continue;
      const { count } = tensorsIn(node.attributes!);
      attributes.push({ name: `${name}.${ATTRIBUTES}`, is, ...(count === 0 ? {} : { tensors: count }) });
      continue;
    }
    // What the table knows is data beside the weights, and so is extra state; of others only their code knows.
    if (isObject(node) && judge(node.module, node.name) !== 'safe' && !EXTRA_STATE.test(name))
      throw new CheckpointValidationError(
        `${uri}: ${JSON.stringify(name)} is ${describe(node)}, which only running its code could turn into weights. Save state dicts instead.`,
        ['weights depend on an unknown class'],
        blamed,
      );
    const { count, unsupported } = tensorsIn(value);
    // Of extra state nobody expects that it can be written as weights.
    const noForm = unsupported === undefined || EXTRA_STATE.test(name) ? {} : { unsupported };
    nonTensors.push({ name, is: describe(node), ...(count === 0 ? {} : { tensors: count, ...noForm }) });
  }
  if (weights.length === 0)
    throw notUnderKey(
      tree,
      `${uri}: the state dict${key === null ? '' : ` under ${key}`} holds no tensor (other values: ${nonTensors.length}).${arrayAdvice(nodes, dict)}`,
      'empty state dict',
    );
  // What the weights lie in is not training state.
  if (keys[0] !== undefined) top.delete(keys[0]);
  const filled = (...keys: string[]): boolean => keys.some((each) => isFilled(nodes, top.get(each)));
  const integer = (each: string): number | null => {
    const value = numberOf(nodes, nodes[top.get(each) ?? -1]);
    return value !== undefined && Number.isSafeInteger(value) ? value : null;
  };
  const version = nodes[top.get(LIGHTNING_VERSION) ?? -1];
  return {
    format,
    stateDictKey: key,
    ...(keys.length > 1 ? { stateDictPath: keys } : {}),
    weights,
    nonTensors,
    ...(attributes.length === 0 ? {} : { attributes }),
    training: {
      epoch: raw ? null : integer('epoch'),
      global_step: raw ? null : integer('global_step'),
      has_optimizer: !raw && filled('optimizer_states', 'optimizer_state_dict', 'optimizer'),
      has_scheduler: !raw && filled('lr_schedulers', 'scheduler_state_dict', 'lr_scheduler', 'scheduler'),
      has_callbacks: !raw && filled('callbacks'),
      has_loops: !raw && filled('loops'),
      has_hyper_parameters: !raw && filled('hyper_parameters'),
      lightning_version: typeof version === 'string' ? version : null,
    },
  };
}

/** Whether a dict of such keys at the top level is what Lightning wrote: one mark is not enough, others call things so, too. */
export function isLightnings(keys: { has(key: string): boolean }): boolean {
  return keys.has(LIGHTNING_VERSION) || LIGHTNING_MARKS.filter((key) => keys.has(key)).length >= 2;
}

/** The dict under a path, and the keys that lead to it. */
function dictUnder(
  tree: ValueTree,
  path: string,
  uri: string,
  details: JsonObject,
): { readonly keys: readonly string[]; readonly dict: Dict } {
  const { nodes } = tree;
  const { keys, value, rest } = followKeys(tree, path);
  // A key may be empty.
  const key = keys.includes('') ? JSON.stringify(keys.join('.')) : keys.join('.');
  const node = nodes[value];
  const dict = dictAt(nodes, value);
  if (dict === undefined)
    throw notUnderKey(
      tree,
      `${uri}: key ${key} holds ${describe(node)}, expected a dict of tensors.${isModule(nodes, value) ? ' It is a pickled whole module: save model.state_dict() instead.' : ''}`,
      `${key} is not a mapping`,
      details,
    );
  if (rest === undefined) return { keys, dict };
  const there = listed(dict.entries.map(([id]) => shownKey(nodes[id])));
  throw notUnderKey(
    tree,
    `${uri} has no key ${JSON.stringify(path)}. Keys ${keys.length === 0 ? 'at the top level' : `under ${key}`}: ${there || 'none'}.`,
    `no key ${path}`,
  );
}

/** A count as training loops keep it: an int, a float, a scalar of numpy. */
function numberOf(nodes: readonly ValueNode[], node: ValueNode | undefined): number | undefined {
  if (typeof node === 'number') return node;
  if (typeof node !== 'object' || node === null) return undefined;
  const value = node.kind === 'float' ? node.value : numpyValue(nodes, node, 1)?.values?.[0];
  return typeof value === 'number' ? value : undefined;
}

/** A tree whose state dict holds no tensors any more, as the header names them as its weights; what it shares with others stays there. */
export function withoutWeights(tree: ValueTree, header: Pick<Header, 'stateDictKey' | 'stateDictPath' | 'container'>): ValueTree {
  const root = dictAt(tree.nodes, tree.root);
  // Of a TorchScript module the weights lie all over the tree.
  if (root === undefined || header.container === 'torchscript') return tree;
  const nodes = [...tree.nodes];
  const steps = stepsToStateDict({ ...header, tree });
  const { entries, ...dict } = dictAt(nodes, steps.at(-1)?.entry[1]) ?? root;
  let held = nodes.push({ ...dict, entries: entries.filter((entry) => !isTensor(nodes[entry[1]])) }) - 1;
  for (const { dict: holder, entry } of steps.toReversed())
    held = nodes.push({ ...holder, entries: holder.entries.map((each) => (each === entry ? [each[0], held] : each)) }) - 1;
  return { root: held, nodes };
}

/** Keys of a dict that are told of. */
const TOLD = 10;

function noStateDict(tree: ValueTree, top: ReadonlyMap<string, NodeId>, uri: string): CheckpointValidationError {
  const { nodes } = tree;
  const keys = [...top.keys()];
  const held = keysWithTensors(tree);
  const tensors = keys.filter((key) => isTensor(nodes[top.get(key)!]));
  const arrays = arrayAdvice(nodes, dictAt(nodes, tree.root)!);
  const odd = keys.filter((key) => !isTensor(nodes[top.get(key)!]));
  const hint =
    keys.length === 0
      ? ''
      : tensors.length > 0 && held[0] === ''
        ? ` Beside ${tensors.length} tensors there is what is none: ${listed(odd.map((key) => `${key} (${describe(nodes[top.get(key)!])})`))}. An empty ${KEY_OPTION} leaves it out.`
        : held.length > 0
          ? keyAdvice(held)
          : arrays !== ''
            ? arrays
            : keys.some((key) => /model/i.test(key))
              ? ' The layout is non-standard: a key names a model.'
              : keys.some((key) => key.endsWith('_dict'))
                ? ' The state dict may be nested differently.'
                : ' It is probably no model checkpoint.';
  return new CheckpointValidationError(
    `${uri} has no state dict: expected one of ${STATE_DICT_KEYS.join(', ')}, or nothing but tensors; found ${listed(keys) || 'no keys'}.${hint}`,
    ['no state dict'],
    { details: { reason: 'no_state_dict', available_keys: keys.slice(0, TOLD), ...heldDetails(held) } },
  );
}

/** Of a key that has no state dict: what the message says, and where tensors are. */
function notUnderKey(tree: ValueTree, says: string, finding: string, details: JsonObject = {}): CheckpointValidationError {
  const held = keysWithTensors(tree);
  return new CheckpointValidationError(`${says}${keyAdvice(held)}`, [finding], {
    details: { reason: 'no_state_dict', ...heldDetails(held), ...details },
  });
}

function heldDetails(held: readonly string[]): JsonObject {
  return held.length === 0 ? {} : { keys_with_tensors: held };
}

function listed(texts: readonly string[]): string {
  return texts.slice(0, TOLD).join(', ');
}

function shownKey(node: ValueNode | undefined): string {
  return keyText(node) ?? `<${describe(node)}>`;
}

function isTensor(node: ValueNode | undefined): node is Extract<ValueNode, { kind: 'tensor' }> {
  return typeof node === 'object' && node !== null && node.kind === 'tensor';
}

/** What a value is, for a message: `a list`, `an object of torch.nn.Linear`. */
function describe(node: ValueNode | undefined): string {
  if (node === undefined || node === null) return 'None';
  if (typeof node !== 'object')
    return { boolean: 'a bool', number: 'an int', string: 'a str' }[typeof node as 'boolean' | 'number' | 'string'];
  if (isArray(node)) return 'a NumPy array';
  if (node.kind === 'object') return `an object of ${node.module}.${node.name}`;
  return node.kind === 'plain' ? `a ${node.class}` : `a ${node.kind}`;
}

function isObject(node: ValueNode | undefined): node is Extract<ValueNode, { kind: 'object' }> {
  return typeof node === 'object' && node !== null && node.kind === 'object';
}

/** By what every `torch.nn.Module` keeps, whatever its class. */
function isModule(nodes: readonly ValueNode[], id: NodeId): boolean {
  const node = nodes[id];
  const state = isObject(node) ? dictAt(nodes, node.state) : undefined;
  return state?.entries.some(([key]) => nodes[key] === '_modules') === true;
}

/** As NumPy pickles its arrays; not its scalars. */
function isArray(node: ValueNode | undefined): boolean {
  return isObject(node) && /^numpy\._?core\./.test(node.module) && (node.name === '_reconstruct' || node.name === '_frombuffer');
}

/** What to do where arrays of NumPy stand in the place of tensors: a sentence behind another, or nothing. */
function arrayAdvice(nodes: readonly ValueNode[], { entries }: Dict): string {
  const arrays = entries.filter(([, value]) => isArray(nodes[value]));
  if (arrays.length === 0) return '';
  return ` Arrays of NumPy were found (${arrays.length}: ${listed(arrays.map(([key]) => shownKey(nodes[key])))}): save them as tensors, made by torch.from_numpy.`;
}

function isFilled(nodes: readonly ValueNode[], id: NodeId | undefined): boolean {
  const node = id === undefined ? undefined : nodes[id];
  if (typeof node !== 'object' || node === null) return false;
  if (node.kind === 'dict') return node.entries.length > 0;
  return node.kind === 'list' || node.kind === 'tuple' ? node.items.length > 0 : true;
}
