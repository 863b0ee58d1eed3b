/**
 * Values → pickle protocol 2 that torch's `weights_only` unpickler takes: only its opcodes, only names on its list.
 *
 * Invariant: the same tree gives the same bytes; every value that has no such form is left out or replaced, and said. A value
 * left out of a dict takes its key along; in a list or tuple `None` holds its place. One loop over an explicit stack.
 *
 * Opcodes and names are those of torch 2.15, `torch/_weights_only_unpickler.py`: no LONG4, no POP, no frozenset, no defaultdict.
 */
import { CheckpointIncompatibleError } from '../../errors.ts';
import type { LeftOut } from '../../model/plan.ts';
import { childrenOf, keyLabel } from '../../model/tree.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import { MAX_DIMENSIONS } from '../limits-pickle.ts';
import { byteBuffer } from './byte-buffer.ts';
import { floatOf, isNumber, numberOf } from './float-node.ts';
import { encodeLong } from './integers.ts';
import {
  asPlain,
  contentOf,
  INTERPOLATION,
  isPlainKey,
  isRootConfig,
  isTorchPlain,
  LONG_MAX,
  MISSING,
  numpyScalar,
  plainText,
} from './plain-forms.ts';

/** How a tensor stands in the pickle. */
export interface PickledTensor {
  /** Name of its storage's member under `data/`. */
  readonly key: string;
  /** `FloatStorage` …; null: an untyped storage, and the dtype beside it. */
  readonly storageClass: string | null;
  /** Elements of the storage; bytes of an untyped one. */
  readonly numel: number;
  /** torch's name of the dtype. */
  readonly dtype: string;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  readonly requiresGrad: boolean;
  readonly parameter: boolean;
}

export interface PickleWriteOptions {
  /** The tensor of a `tensor` node, or why it cannot be written. First asked in the order of writing; the answer must stay the same. */
  readonly tensor: (index: number) => PickledTensor | string;
}

export interface WrittenPickle {
  readonly bytes: Uint8Array;
  /** What is not in it, or not as it was: paths and reasons. */
  readonly dropped: readonly LeftOut[];
}

/** Items between two SETITEMS or APPENDS, as CPython batches them. */
const BATCH = 1000;
type Composite = Exclude<ValueNode, null | boolean | number | string>;
type Steps = Generator<NodeId, void, void>;

/** Writes the whole tree; the root must have a form of its own. */
export function writePickle(tree: ValueTree, options: PickleWriteOptions): WrittenPickle {
  const { nodes } = tree;
  const out = byteBuffer();
  const counts = countUses(tree);
  const memo = { nodes: new Map<NodeId, number>(), texts: new Map<string, number>(), globals: new Map<string, number>() };
  let remembered = 0;
  const begun = new Set<NodeId>();
  const dropped: LeftOut[] = [];
  const path: { readonly steps: Steps; step: string }[] = [];

  const where = (last: string): string => {
    const text = [...path.map(({ step }) => step), last].join('');
    return text.startsWith('.') ? text.slice(1) : text;
  };
  const leave = (reason: string, details?: LeftOut['details']): void =>
    void dropped.push({ what: where('') || 'the root', reason, ...(details === undefined ? {} : { details }) });

  const put = <Key>(entries: Map<Key, number>, key: Key): void => {
    const index = remembered++;
    entries.set(key, index);
    if (index < 256) out.byte(0x71).byte(index);
    else out.byte(0x72).u32(index);
  };
  const get = <Key>(entries: Map<Key, number>, key: Key): boolean => {
    const index = entries.get(key);
    if (index === undefined) return false;
    if (index < 256) out.byte(0x68).byte(index);
    else out.byte(0x6a).u32(index);
    return true;
  };
  const remember = (id: NodeId): void => {
    if ((counts.nodes[id] ?? 0) > 1) put(memo.nodes, id);
  };
  const global = (module: string, name: string): void => {
    const line = `${module}\n${name}\n`;
    if (get(memo.globals, line)) return;
    out.byte(0x63).ascii(line);
    put(memo.globals, line);
  };
  /** `shared`: worth a memo entry, as it comes again. */
  const text = (value: string, shared: boolean): void => {
    if (get(memo.texts, value)) return;
    out.byte(0x58).text(value);
    if (shared) put(memo.texts, value);
  };
  const integer = (value: number): void => {
    if (value >= 0 && value < 256) out.byte(0x4b).byte(value);
    else if (value >= 0 && value < 65536)
      out
        .byte(0x4d)
        .byte(value & 255)
        .byte(value >> 8);
    else if (value >= -(2 ** 31) && value < 2 ** 31) out.byte(0x4a).u32(value >>> 0);
    else long(encodeLong(BigInt(value)));
  };
  const long = (bytes: Uint8Array): void => void out.byte(0x8a).byte(bytes.length).bytes(bytes);
  const integers = (values: readonly number[]): void => {
    if (values.length === 0) return void out.byte(0x29);
    if (values.length > 3) out.byte(0x28);
    values.forEach(integer);
    out.byte(values.length > 3 ? 0x74 : 0x84 + values.length);
  };
  const emptyOrdered = (): void => {
    global('collections', 'OrderedDict');
    out.byte(0x29).byte(0x52);
  };
  const encoded = (latin: string): void => {
    global('_codecs', 'encode');
    text(latin, false);
    text('latin1', true);
    out.byte(0x86).byte(0x52);
  };

  const tensor = (given: PickledTensor): void => {
    if (given.shape.length > MAX_DIMENSIONS)
      throw new CheckpointIncompatibleError(
        `${where('')} has ${given.shape.length} dimensions; torch allows ${MAX_DIMENSIONS}. Leave it out, or publish as safetensors.`,
        { details: { reason: 'too_many_dimensions', tensor: where(''), dimensions: given.shape.length } },
      );
    if (given.parameter) global('torch._utils', '_rebuild_parameter');
    const typed = given.storageClass !== null;
    global('torch._utils', typed ? '_rebuild_tensor_v2' : '_rebuild_tensor_v3');
    out.byte(0x28).byte(0x28);
    text('storage', true);
    if (given.storageClass === null) global('torch.storage', 'UntypedStorage');
    else global('torch', given.storageClass);
    text(given.key, false);
    text('cpu', true);
    integer(given.numel);
    out.byte(0x74).byte(0x51);
    integer(given.offset);
    integers(given.shape);
    integers(given.stride);
    out.byte(given.requiresGrad && !given.parameter ? 0x88 : 0x89);
    emptyOrdered();
    if (!typed) global('torch', given.dtype);
    out.byte(0x74).byte(0x52);
    if (!given.parameter) return;
    out.byte(given.requiresGrad ? 0x88 : 0x89);
    emptyOrdered();
    out.byte(0x87).byte(0x52);
  };

  // A tensor is looked at, then written: asked once for both.
  let last: { readonly index: number; readonly given: PickledTensor | string } | undefined;
  const tensorAt = (index: number): PickledTensor | string => {
    if (last?.index !== index) last = { index, given: options.tensor(index) };
    return last.given;
  };

  /** Why a value cannot be written, or undefined. Looks at the node alone, never below it. */
  const refusal = (given: NodeId): string | undefined => {
    const id = contentOf(nodes, given);
    const node = nodes[id];
    if (typeof node !== 'object' || node === null) return undefined;
    if (begun.has(id)) return 'it contains itself by way of a tuple';
    switch (node.kind) {
      case 'int':
        return encodeLong(BigInt(node.decimal)).length > LONG_MAX ? `an integer of more than ${LONG_MAX} bytes` : undefined;
      case 'tensor': {
        const given = tensorAt(node.tensor);
        return typeof given === 'string' ? `a tensor without a plain form: ${given}` : undefined;
      }
      case 'storage':
        return 'a bare storage';
      case 'global':
        return `the class or function ${node.module}.${node.name}`;
      case 'object':
        return asPlain(nodes, node) === undefined && numpyScalar(nodes, node) === undefined
          ? `an object of ${node.module}.${node.name}`
          : undefined;
      case 'plain':
        return plainText(nodes, node) === undefined && !isTorchPlain(nodes, node) ? `a ${node.class}` : undefined;
      case 'complex':
        return [node.real, node.imag].every((part) => isNumber(nodes[part])) ? undefined : 'a complex number of unknown parts';
      default:
        return undefined;
    }
  };

  function* sequence(items: readonly NodeId[]): Steps {
    for (const [index, item] of items.entries()) {
      path.at(-1)!.step = `[${index}]`;
      const why = refusal(item);
      if (why === undefined) yield item;
      else {
        leave(why);
        out.byte(0x4e);
      }
    }
  }
  function* appends(items: readonly NodeId[]): Steps {
    for (let from = 0; from < items.length; from += BATCH) {
      out.byte(0x28);
      for (const [offset, item] of items.slice(from, from + BATCH).entries()) {
        path.at(-1)!.step = `[${from + offset}]`;
        const why = refusal(item);
        if (why === undefined) yield item;
        else {
          leave(why);
          out.byte(0x4e);
        }
      }
      out.byte(0x65);
    }
  }
  function* setItems(entries: readonly (readonly [NodeId, NodeId])[]): Steps {
    let open = 0;
    for (const [key, value] of entries) {
      path.at(-1)!.step = `.${keyLabel(nodes, key)}`;
      const why = isPlainKey(nodes, key) ? refusal(value) : 'a key without a plain form';
      if (why !== undefined) {
        leave(why);
        continue;
      }
      if (open === 0) out.byte(0x28);
      yield key;
      yield value;
      if (++open < BATCH) continue;
      out.byte(0x75);
      open = 0;
    }
    if (open > 0) out.byte(0x75);
  }

  function* compose(id: NodeId, node: Composite): Steps {
    switch (node.kind) {
      case 'list':
        out.byte(0x5d);
        remember(id);
        return yield* appends(node.items);
      case 'frozenset':
      case 'tuple': {
        if (node.kind === 'frozenset') leave('replaced by a tuple: a frozenset');
        begun.add(id);
        const { items } = node;
        if (items.length > 3) out.byte(0x28);
        yield* sequence(items);
        out.byte(items.length === 0 ? 0x29 : items.length > 3 ? 0x74 : 0x84 + items.length);
        begun.delete(id);
        if (items.length > 0) remember(id);
        return;
      }
      case 'set': {
        begun.add(id);
        global('__builtin__', 'set');
        out.byte(0x5d);
        const kept = node.items.filter((item) => isPlainKey(nodes, item));
        if (kept.length < node.items.length) leave(`${node.items.length - kept.length} items of a set without a plain form`);
        yield* appends(kept);
        out.byte(0x85).byte(0x52);
        begun.delete(id);
        return remember(id);
      }
      case 'dict': {
        if (node.class === 'OrderedDict') emptyOrdered();
        else if (node.class === 'Counter') {
          global('collections', 'Counter');
          out.byte(0x29).byte(0x52);
        } else {
          if (node.class === 'defaultdict') leave('replaced by a dict: a defaultdict');
          out.byte(0x7d);
        }
        remember(id);
        yield* setItems(node.entries);
        if (node.attributes === undefined) return;
        path.at(-1)!.step = '.__dict__';
        if (node.class !== 'OrderedDict') return leave('attributes of a dict');
        yield node.attributes;
        out.byte(0x62);
        return;
      }
      case 'object': {
        const scalar = numpyScalar(nodes, node);
        if (scalar !== undefined) {
          leave('replaced by a plain number: a scalar of numpy');
          if (typeof scalar === 'object' && scalar !== null) return atom(id, scalar);
          return typeof scalar === 'number' ? integer(scalar) : void out.byte(scalar === true ? 0x88 : 0x89);
        }
        const plain = asPlain(nodes, node)!;
        leave(`replaced by a ${plain.kind}: an object of ${node.module}.${node.name}`);
        if (plain.kind === 'list') {
          out.byte(0x5d);
          remember(id);
          return yield* appends(plain.items);
        }
        out.byte(0x7d);
        remember(id);
        return yield* setItems(plain.entries);
      }
      case 'plain': {
        const replaced = plainText(nodes, node);
        if (replaced !== undefined) {
          leave(`replaced by text: a ${node.class}`);
          return text(replaced, false);
        }
        if (node.class === 'torch.dtype') return global('torch', String(nodes[node.value]));
        if (node.class === 'torch.layout') {
          global('torch.serialization', '_get_layout');
        } else global('torch', node.class.slice('torch.'.length));
        yield node.value;
        out.byte(0x52);
        return remember(id);
      }
      default:
        return atom(id, node);
    }
  }

  const atom = (id: NodeId, node: Composite): void => {
    switch (node.kind) {
      case 'int':
        return long(encodeLong(BigInt(node.decimal)));
      case 'float':
        return void out.byte(0x47).f64(floatOf(node.value));
      case 'complex':
        global('__builtin__', 'complex');
        out.byte(0x47).f64(numberOf(nodes[node.real])).byte(0x47).f64(numberOf(nodes[node.imag]));
        out.byte(0x86).byte(0x52);
        return remember(id);
      case 'bytes':
        encoded(Buffer.from(node.base64, 'base64').toString('latin1'));
        return remember(id);
      case 'bytearray':
        global('__builtin__', 'bytearray');
        encoded(Buffer.from(node.base64, 'base64').toString('latin1'));
        out.byte(0x85).byte(0x52);
        return remember(id);
      case 'tensor': {
        const given = tensorAt(node.tensor);
        if (typeof given === 'string') throw new Error('a tensor was to be left out');
        tensor(given);
        return remember(id);
      }
      default:
        throw new Error(`a ${node.kind} was to be left out`);
    }
  };

  /** Writes a value at once, or begins it: then its steps are on the path. */
  const visit = (given: NodeId): void => {
    const id = contentOf(nodes, given);
    if (id !== given && isRootConfig(nodes, given)) leave('replaced by its plain content: a configuration of OmegaConf');
    const node = nodes[id]!;
    if (id !== given && typeof node === 'string' && node === MISSING) leave('kept as its text: a missing value of OmegaConf');
    if (id !== given && typeof node === 'string' && node.includes(INTERPOLATION))
      leave('kept as its text: interpolations of OmegaConf are not resolved');
    if (node === null) return void out.byte(0x4e);
    if (typeof node === 'boolean') return void out.byte(node ? 0x88 : 0x89);
    if (typeof node === 'number') return integer(node);
    if (typeof node === 'string') return text(node, (counts.texts.get(node) ?? 0) > 1);
    if (get(memo.nodes, id)) return;
    path.push({ steps: compose(id, node), step: '' });
  };

  const why = refusal(tree.root);
  if (why !== undefined) throw new TypeError(`the root of a pickle cannot be ${why}`);
  out.byte(0x80).byte(2);
  visit(tree.root);
  for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
    const { value, done } = frame.steps.next();
    if (done === true) path.pop();
    else visit(value);
  }
  out.byte(0x2e);
  return { bytes: out.done(), dropped };
}

/** How often each node and each text comes, from the root. */
function countUses(tree: ValueTree): { readonly nodes: Uint32Array; readonly texts: ReadonlyMap<string, number> } {
  const uses = new Uint32Array(tree.nodes.length);
  const texts = new Map<string, number>();
  const pending = [tree.root];
  for (let given = pending.pop(); given !== undefined; given = pending.pop()) {
    const id = contentOf(tree.nodes, given);
    const node = tree.nodes[id];
    if (typeof node === 'string') texts.set(node, (texts.get(node) ?? 0) + 1);
    if (++uses[id]! > 1 || typeof node !== 'object' || node === null) continue;
    pushChildren(tree.nodes, node, pending);
  }
  return { nodes: uses, texts };
}

/** What is written of a value by itself: of an object its plain form alone, and a complex number has its parts within it. */
function pushChildren(nodes: readonly ValueNode[], node: Composite, into: NodeId[]): void {
  if (node.kind === 'complex') return;
  const written = node.kind === 'object' ? asPlain(nodes, node) : node;
  for (const child of childrenOf(written)) into.push(child);
}
