/**
 * A TorchScript archive's module tree → the names and tensors that its `state_dict()` would give.
 *
 * Which tensor attributes are parameters and buffers is written in the archive's code, which is not read. The pickle tells it
 * as well: torch writes a module's attributes in the order of its slots, parameters and buffers first, then `training`, then
 * all others. Invariant: the walk is bounded in modules, names and their length, whatever the module tree shares or contains.
 */
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import { NO_TRAINING } from '../../model/header.ts';
import type { Finding, Tensor, Weight } from '../../model/header.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import type { StateDict } from './state-dict.ts';

/** Modules met, a shared one each time: `state_dict()` names its tensors each time, too. */
const MODULES_MAX = 1_000_000;
/** Characters of all names together. */
const NAMES_MAX = 64 * 2 ** 20;
/** Names that a finding lists. */
const LISTED = 10;

/** Finds the weights of a scripted module; throws `CheckpointValidationError` where there are none. */
export function findModuleWeights(
  tree: ValueTree,
  tensors: readonly Tensor[],
  uri: string,
  code: readonly string[],
): StateDict & { readonly findings: readonly Finding[] } {
  const weights: Weight[] = [];
  const attributes: string[] = [];
  let characters = 0;
  let modules = 0;
  const named = (list: (name: string) => void, prefix: string, name: string): void => {
    characters += prefix.length + name.length;
    if (characters > NAMES_MAX) throw tooLarge(uri, `names of more than ${NAMES_MAX} characters`);
    list(`${prefix}${name}`);
  };
  // Modules still to be walked; `holders` are those on the way to one, which it may not be itself.
  const open: { readonly id: NodeId; readonly prefix: string; readonly holders: Path | undefined }[] = [
    { id: tree.root, prefix: '', holders: undefined },
  ];
  for (let module = open.pop(); module !== undefined; module = open.pop()) {
    const { id, prefix, holders } = module;
    if (++modules > MODULES_MAX) throw tooLarge(uri, `more than ${MODULES_MAX} modules`);
    const slots = slotsOf(tree.nodes, id);
    const own = slots.findIndex(([name]) => name === 'training');
    const children: typeof open = [];
    for (const [position, [name, value]] of slots.entries()) {
      const node = tree.nodes[value];
      if (typeof node !== 'object' || node === null) continue;
      if (node.kind === 'tensor') {
        const isState = own === -1 || position < own;
        if (isState) named((full) => weights.push({ name: full, tensor: node.tensor }), prefix, name);
        else named((full) => attributes.push(full), prefix, name);
      } else if (node.kind === 'object' && node.state !== undefined) {
        if (value === id || isOn(holders, value))
          throw new CheckpointLoadError(`${uri}: the module ${JSON.stringify(`${prefix}${name}`.slice(0, 200))} contains itself.`, uri);
        children.push({ id: value, prefix: `${prefix}${name}.`, holders: { id, before: holders } });
      }
    }
    open.push(...children.toReversed());
  }
  if (weights.length === 0)
    throw new CheckpointValidationError(
      `${uri}: the TorchScript module has no parameters or buffers. Was it frozen? Freezing turns them into constants of its code; save the module before torch.jit.freeze.`,
      ['empty state dict'],
    );
  const unique = new Set(weights.map(({ name }) => name));
  if (unique.size !== weights.length)
    throw new CheckpointValidationError(`${uri}: two tensors of the TorchScript module have one name.`, ['duplicate name']);
  const parameters = weights.filter(({ tensor }) => tensors[tensor]?.requiresGrad === true).length;
  return {
    format: 'state_dict',
    stateDictKey: null,
    weights,
    nonTensors: [],
    training: NO_TRAINING,
    findings: [
      {
        code: 'torchscript_code',
        message: `it is a program: ${code.length} code members are neither read nor carried along (${listed(code)}); its ${weights.length} tensors, ${parameters} of them trainable, are`,
      },
      ...(attributes.length === 0
        ? []
        : [
            {
              code: 'torchscript_attributes',
              message: `${attributes.length} tensors are plain attributes, which state_dict() leaves out: ${listed(attributes)}`,
            },
          ]),
    ],
  };
}

interface Path {
  readonly id: NodeId;
  readonly before: Path | undefined;
}

function isOn(path: Path | undefined, id: NodeId): boolean {
  for (let at = path; at !== undefined; at = at.before) if (at.id === id) return true;
  return false;
}

/** The attributes of an object, in order. */
function slotsOf(nodes: readonly ValueNode[], id: NodeId): readonly (readonly [name: string, value: NodeId])[] {
  const object = nodes[id];
  const state = typeof object === 'object' && object?.kind === 'object' && object.state !== undefined ? nodes[object.state] : undefined;
  if (typeof state !== 'object' || state?.kind !== 'dict') return [];
  return state.entries.flatMap(([key, value]) => {
    const name = nodes[key];
    return typeof name === 'string' ? [[name, value] as const] : [];
  });
}

function listed(names: readonly string[]): string {
  return `${names.slice(0, LISTED).join(', ')}${names.length > LISTED ? ', …' : ''}`;
}

function tooLarge(uri: string, what: string): CheckpointLoadError {
  return new CheckpointLoadError(`${uri}: the TorchScript module has ${what}.`, uri);
}
