/**
 * A TorchScript archive's module tree → the names and tensors that its `state_dict()` would give.
 *
 * Which tensor attributes are parameters and buffers is written in the archive's code, which is not read. The pickle tells it
 * as well: torch writes a module's attributes in the order of its slots, parameters and buffers first, then `training`, then
 * all others. Invariant: the walk is bounded in modules, tensors and the length of names, whatever the module tree shares or contains;
 * each object's attributes are looked through once.
 */
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import { NO_TRAINING } from '../../model/header.ts';
import type { Finding, Tensor, Weight } from '../../model/header.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import { TENSORS_MAX } from '../safetensors/read.ts';
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
  /** What each object holds: a shared one is looked through once, however often it is met. */
  const contents = new Map<NodeId, Content>();
  /** The modules on the way to one, which it may not be itself. */
  const holders = new Set<NodeId>();
  const open: { readonly id: NodeId; readonly prefix: string; readonly modules: Content['modules']; next: number }[] = [];
  const enter = (id: NodeId, prefix: string): void => {
    if (++modules > MODULES_MAX) throw tooLarge(uri, `more than ${MODULES_MAX} modules`);
    let content = contents.get(id);
    if (content === undefined) contents.set(id, (content = contentOf(tree.nodes, id)));
    for (const { name, tensor, isState } of content.tensors) {
      characters += prefix.length + name.length;
      if (characters > NAMES_MAX) throw tooLarge(uri, `names of more than ${NAMES_MAX} characters`);
      // Of shared modules each time; as many as a safetensors header may name.
      if (weights.length + attributes.length >= TENSORS_MAX) throw tooLarge(uri, `more than ${TENSORS_MAX} tensors`);
      if (isState) weights.push({ name: `${prefix}${name}`, tensor });
      else attributes.push(`${prefix}${name}`);
    }
    holders.add(id);
    open.push({ id, prefix, modules: content.modules, next: 0 });
  };
  enter(tree.root, '');
  for (let at = open.at(-1); at !== undefined; at = open.at(-1)) {
    const module = at.modules[at.next++];
    if (module === undefined) {
      holders.delete(at.id);
      open.pop();
      continue;
    }
    const path = `${at.prefix}${module.name}`;
    if (holders.has(module.id))
      throw new CheckpointLoadError(`${uri}: the module ${JSON.stringify(path.slice(0, 200))} contains itself.`, uri);
    enter(module.id, `${path}.`);
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

/** What of an object's attributes matters here, in order. */
interface Content {
  /** `isState`: a parameter or a buffer. */
  readonly tensors: readonly { readonly name: string; readonly tensor: number; readonly isState: boolean }[];
  readonly modules: readonly { readonly name: string; readonly id: NodeId }[];
}

function contentOf(nodes: readonly ValueNode[], id: NodeId): Content {
  const slots = slotsOf(nodes, id);
  const own = slots.findIndex(([name]) => name === 'training');
  const content = { tensors: [] as Content['tensors'][number][], modules: [] as Content['modules'][number][] };
  for (const [position, [name, value]] of slots.entries()) {
    const node = nodes[value];
    if (typeof node !== 'object' || node === null) continue;
    if (node.kind === 'tensor') content.tensors.push({ name, tensor: node.tensor, isState: own === -1 || position < own });
    else if (node.kind === 'object' && node.state !== undefined) content.modules.push({ name, id: value });
  }
  return content;
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
