/**
 * A TorchScript archive's module tree → the names and tensors that its `state_dict()` would give.
 *
 * Which attributes are parameters and buffers, and in which order they come, only the archive's code says: `ModuleClass` is what it
 * declares. Invariant: every tensor of the tree is a weight or told of, and what cannot be known is refused; the walk is bounded in
 * modules, tensors and the length of names, whatever the module tree shares or contains; what each class declares and each object has is
 * looked through once.
 */
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import { BUFFERS_UNKNOWN, NO_TRAINING } from '../../model/header.ts';
import type { Attribute, Finding, Tensor, Weight } from '../../model/header.ts';
import { formatCount } from '../../model/text.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import { isScripted } from '../pickle/globals.ts';
import { TENSORS_MAX } from '../safetensors/read.ts';
import { nestedTensors, type NestedTensors } from './nested-tensors.ts';
import type { StateDict } from './state-dict.ts';
import type { ModuleClass } from './torchscript-classes.ts';
import type { ClassOf } from './torchscript-code.ts';

/** Modules met, a shared one each time: `state_dict()` names its tensors each time, too. */
const MODULES_MAX = 1_000_000;
/** Characters of all names together. */
const NAMES_MAX = 64 * 2 ** 20;
/** Characters of one module's name, its holders' included: those on the way to one are held, each as long as its own and all before. Real ones have some hundreds. */
const PREFIX_MAX = 16 * 1024;
/** Names that a finding lists. */
const LISTED = 10;

/** What stands in the archive beside its pickle. */
export interface ScriptMembers {
  /** Names of members below `code/`. */
  readonly code: readonly string[];
  /** Tensors that its code holds. */
  readonly constants: number;
}

/** Finds the weights of a scripted module; throws `CheckpointValidationError` where there are none. */
export function findModuleWeights(
  tree: ValueTree,
  tensors: readonly Tensor[],
  uri: string,
  classOf: ClassOf,
  { code, constants }: ScriptMembers,
): StateDict & { readonly findings: readonly Finding[] } {
  const weights: Weight[] = [];
  const attributes: Attribute[] = [];
  const guessed: string[] = [];
  let inAttributes = 0;
  let characters = 0;
  let modules = 0;
  const lookThrough = moduleContents(tree, tensors, uri, classOf);
  /** The modules on the way to one, which it may not be itself. */
  const holders = new Set<NodeId>();
  const open: { readonly id: NodeId; readonly prefix: string; readonly modules: Content['modules']; next: number }[] = [];
  const enter = (id: NodeId, prefix: string): void => {
    if (++modules > MODULES_MAX) throw tooLarge(uri, `more than ${MODULES_MAX} modules`);
    if (prefix.length > PREFIX_MAX) throw tooLarge(uri, `a module whose name has more than ${PREFIX_MAX} characters`);
    const content = lookThrough(id, prefix);
    const counted = (name: string): string => {
      characters += prefix.length + name.length;
      if (characters > NAMES_MAX) throw tooLarge(uri, `names of more than ${NAMES_MAX} characters`);
      // Of shared modules each time; as many as a safetensors header may name.
      if (weights.length + attributes.length >= TENSORS_MAX) throw tooLarge(uri, `more than ${TENSORS_MAX} tensors`);
      return `${prefix}${name}`;
    };
    for (const { name, tensor, isGuessed } of content.weights) {
      const full = counted(name);
      weights.push({ name: full, tensor });
      if (isGuessed) guessed.push(full);
    }
    for (const { name, count } of content.attributes) {
      attributes.push({ name: counted(name), is: 'a plain attribute', tensors: count });
      inAttributes += count;
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
      `${uri}: the TorchScript module has no parameters or buffers.${
        constants > 0
          ? ` Its code has ${formatCount(constants, 'tensor')} as constants. Was it frozen? Freezing makes constants of parameters; save the module before torch.jit.freeze.`
          : inAttributes > 0
            ? ` Plain attributes hold ${formatCount(inAttributes, 'tensor')}, which state_dict() leaves out: ${listed(attributes.map(({ name }) => name))}.`
            : ''
      }`,
      ['empty state dict'],
    );
  const unique = new Set(weights.map(({ name }) => name));
  if (unique.size !== weights.length)
    throw new CheckpointValidationError(`${uri}: two tensors of the TorchScript module have one name.`, ['duplicate name']);
  const aside = constants === 0 ? attributes : [...attributes, { name: 'CONSTANTS', is: 'constants of its code', tensors: constants }];
  const parameters = weights.filter(({ tensor }) => tensors[tensor]?.requiresGrad === true).length;
  return {
    format: 'state_dict',
    stateDictKey: null,
    weights,
    nonTensors: [],
    ...(aside.length === 0 ? {} : { attributes: aside }),
    training: NO_TRAINING,
    findings: [
      {
        code: 'torchscript_code',
        message: `it is a program: of ${code.length} code members only declarations are read, and none is carried along (${listed(code)}); its ${formatCount(weights.length, 'tensor')}, ${parameters} of them trainable, are`,
      },
      ...(guessed.length === 0
        ? []
        : [
            {
              code: BUFFERS_UNKNOWN,
              message: `torch before 1.6 wrote it, which took every tensor that is no parameter for a buffer: ${listed(guessed)}`,
            },
          ]),
    ],
  };
}

/** What of a module's attributes matters here, in order. */
interface Content {
  /** Parameters, then buffers. `isGuessed`: nothing says that it is a buffer, and no plain attribute. */
  readonly weights: readonly { readonly name: string; readonly tensor: number; readonly isGuessed: boolean }[];
  readonly modules: readonly { readonly name: string; readonly id: NodeId }[];
  /** Plain attributes that hold tensors, and how many. */
  readonly attributes: readonly ({ readonly name: string } & NestedTensors)[];
}

/** Looks through modules, a shared one once, however often it is met; `prefix` is what stands before its names. */
function moduleContents(
  { nodes }: ValueTree,
  tensors: readonly Tensor[],
  uri: string,
  classOf: ClassOf,
): (id: NodeId, prefix: string) => Content {
  const contents = new Map<NodeId, Content>();
  const tensorsIn = nestedTensors(nodes, tensors);
  const needsOf = classNeeds();
  const slotsOf = objectSlots(nodes);

  /** The class of a value that is a module. */
  const moduleAt = (id: NodeId): ModuleClass | undefined => {
    const node = nodes[id];
    if (typeof node !== 'object' || node?.kind !== 'object' || !isScripted(node.module)) return undefined;
    return classOf(node.module, node.name) ?? undefined;
  };

  return (id, prefix) => {
    const known = contents.get(id);
    if (known !== undefined) return known;
    const where = prefix === '' ? 'the module' : `the module ${JSON.stringify(prefix.slice(0, -1).slice(0, 200))}`;
    const declared = moduleAt(id);
    if (declared === undefined)
      throw new CheckpointValidationError(
        `${uri} is a TorchScript archive whose data.pkl holds no module of its code. Save the module again with torch.jit.save.`,
        ['content is no scripted module'],
      );
    const needs = needsOf(declared);
    const content = declared.hasOwnState ? ownState(id, declared, needs, where) : contentOf(slotsOf(id), declared, needs, where);
    contents.set(id, content);
    return content;
  };

  function contentOf(slots: Slots | undefined, declared: ModuleClass, { roles }: Needs, where: string): Content {
    if (slots === undefined)
      throw new CheckpointLoadError(`${uri}: ${where} has no attributes in data.pkl, which its class declares.`, uri);
    const parameters: Content['weights'][number][] = [];
    const buffers: Content['weights'][number][] = [];
    const modules: Content['modules'][number][] = [];
    const placed = new Set<string>();
    for (const [name, role] of roles) {
      const value = slots.get(name);
      if (value === undefined)
        throw new CheckpointLoadError(
          `${uri}: ${where} has no ${JSON.stringify(name.slice(0, 200))} in data.pkl, which its class declares as a ${role}.`,
          uri,
        );
      const node = nodes[value];
      const tensor = typeof node === 'object' && node?.kind === 'tensor' ? node.tensor : undefined;
      if (role === 'parameter' && tensor !== undefined) parameters.push({ name, tensor, isGuessed: false });
      else if (role === 'buffer' && tensor !== undefined) buffers.push({ name, tensor, isGuessed: declared.buffers === undefined });
      else if (role === 'module' && moduleAt(value) !== undefined) modules.push({ name, id: value });
      else continue;
      placed.add(name);
    }
    const attributes: Content['attributes'][number][] = [];
    for (const [name, value] of slots) {
      const held = placed.has(name) ? undefined : tensorsIn(value);
      if (held !== undefined && held.count > 0) attributes.push({ name, ...held });
    }
    return { weights: [...parameters, ...buffers], modules, attributes };
  }

  /** Of a module that its own code makes from what is in the pickle: only that it has no weights can be known. */
  function ownState(id: NodeId, declared: ModuleClass, { made }: Needs, where: string): Content {
    if (made !== undefined)
      throw new CheckpointValidationError(
        `${uri}: ${where} makes its ${made.role} ${JSON.stringify(made.name.slice(0, 200))} in __setstate__, code that is not run${declared.buffers === undefined && made.role === 'buffer' ? ' (quantised layers of torch before 1.6 do)' : ''}. Save the weights by themselves: torch.save(torch.jit.load(path).state_dict(), path).`,
        ['weights depend on code'],
      );
    const { count } = tensorsIn(id);
    return { weights: [], modules: [], attributes: count === 0 ? [] : [{ name: '__getstate__()', count }] };
  }
}

/** What a state dict needs of each object of a class. */
interface Needs {
  /** By names, in the order of its slots. */
  readonly roles: ReadonlyMap<string, Role>;
  /** The first that is more than None. */
  readonly made: { readonly name: string; readonly role: Role } | undefined;
}

/** Looks through classes, each once: any number of objects may be of one, and have nothing that it declares. */
function classNeeds(): (declared: ModuleClass) => Needs {
  const known = new Map<ModuleClass, Needs>();
  return (declared) => {
    const before = known.get(declared);
    if (before !== undefined) return before;
    const roles = new Map<string, Role>();
    let made: Needs['made'];
    for (const [name, type] of declared.attributes) {
      const role = roleOf(declared, name, type);
      if (role === undefined) continue;
      roles.set(name, role);
      if (type !== NONE) made ??= { name, role };
    }
    const needs = { roles, made };
    known.set(declared, needs);
    return needs;
  };
}

type Role = 'parameter' | 'buffer' | 'module';

const TENSOR = 'Tensor';
const NONE = 'NoneType';
/** Objects of torch's own C++ classes, as of packed weights: none is a module. */
const BOUND = '__torch__.torch.classes.';

/** As `torch::jit::Module` has it; undefined: a plain attribute. An optional tensor may be a parameter and is no buffer, whatever the module it was made of said. */
function roleOf({ parameters, buffers }: ModuleClass, name: string, type: string): Role | undefined {
  if (parameters.has(name)) return 'parameter';
  if (type === TENSOR) return buffers?.has(name) === false ? undefined : 'buffer';
  return type.startsWith('__torch__.') && !type.startsWith(BOUND) ? 'module' : undefined;
}

type Slots = ReadonlyMap<string, NodeId>;

/** Gives the attributes of an object by their names; of a dict that many objects share, they are made once. */
function objectSlots(nodes: readonly ValueNode[]): (id: NodeId) => Slots | undefined {
  const known = new Map<NodeId, Slots>();
  return (id) => {
    const object = nodes[id];
    if (typeof object !== 'object' || object?.kind !== 'object' || object.state === undefined) return undefined;
    const before = known.get(object.state);
    if (before !== undefined) return before;
    const state = nodes[object.state];
    if (typeof state !== 'object' || state?.kind !== 'dict') return undefined;
    const slots = new Map<string, NodeId>();
    for (const [key, value] of state.entries) {
      const name = nodes[key];
      if (typeof name === 'string') slots.set(name, value);
    }
    known.set(object.state, slots);
    return slots;
  };
}

function listed(names: readonly string[]): string {
  return `${names.slice(0, LISTED).join(', ')}${names.length > LISTED ? ', …' : ''}`;
}

function tooLarge(uri: string, what: string): CheckpointLoadError {
  return new CheckpointLoadError(`${uri}: the TorchScript module has ${what}.`, uri);
}
