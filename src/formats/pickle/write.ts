/**
 * Values → pickle protocol 2 that torch's `weights_only` unpickler takes: only its opcodes, only names on its list.
 *
 * Invariant: the same tree gives the same bytes; every value that has no such form is left out or replaced, and said. A value
 * left out of a dict takes its key along; in a list or tuple `None` holds its place. One loop over an explicit stack.
 *
 * Opcodes and names are those of torch 2.15, `torch/_weights_only_unpickler.py`: no LONG4, no POP, no frozenset, no defaultdict.
 */
import type { LeftOut } from '../../model/plan.ts';
import { childrenOf, keyLabel } from '../../model/tree.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import { floatOf, isNumber, numberOf } from './float-node.ts';
import { encodeLong } from './integers.ts';
import { pickleOutput } from './output.ts';
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
import { writeTensor, type PickledTensor } from './write-tensor.ts';

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
  const out = pickleOutput();
  const counts = countUses(tree);
  const begun = new Set<NodeId>();
  const dropped: LeftOut[] = [];
  const path: { readonly steps: Steps; step: string }[] = [];

  const where = (): string => {
    const text = path.map(({ step }) => step).join('');
    return text.startsWith('.') ? text.slice(1) : text;
  };
  const leave = (reason: string): void => void dropped.push({ what: where() || 'the root', reason });

  const remember = (id: NodeId): void => {
    if ((counts.nodes[id] ?? 0) > 1) out.remember(id);
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

  /** `first`: the place of the first one. */
  function* sequence(items: readonly NodeId[], first = 0): Steps {
    for (const [index, item] of items.entries()) {
      path.at(-1)!.step = `[${first + index}]`;
      const why = refusal(item);
      if (why === undefined) yield item;
      else {
        leave(why);
        out.none();
      }
    }
  }
  function* appends(items: readonly NodeId[]): Steps {
    for (let from = 0; from < items.length; from += BATCH) {
      out.mark();
      yield* sequence(items.slice(from, from + BATCH), from);
      out.append();
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
      if (open === 0) out.mark();
      yield key;
      yield value;
      if (++open < BATCH) continue;
      out.setItems();
      open = 0;
    }
    if (open > 0) out.setItems();
  }

  function* compose(id: NodeId, node: Composite): Steps {
    switch (node.kind) {
      case 'list':
        out.emptyList();
        remember(id);
        return yield* appends(node.items);
      case 'frozenset':
      case 'tuple': {
        if (node.kind === 'frozenset') leave('replaced by a tuple: a frozenset');
        begun.add(id);
        const { items } = node;
        out.beginTuple(items.length);
        yield* sequence(items);
        out.tuple(items.length);
        begun.delete(id);
        if (items.length > 0) remember(id);
        return;
      }
      case 'set': {
        begun.add(id);
        out.global('__builtin__', 'set');
        out.emptyList();
        const kept = node.items.filter((item) => isPlainKey(nodes, item));
        if (kept.length < node.items.length) leave(`${node.items.length - kept.length} items of a set without a plain form`);
        yield* appends(kept);
        out.tuple(1);
        out.call();
        begun.delete(id);
        return remember(id);
      }
      case 'dict': {
        if (node.class === 'OrderedDict') out.callEmpty('collections', 'OrderedDict');
        else if (node.class === 'Counter') out.callEmpty('collections', 'Counter');
        else {
          if (node.class === 'defaultdict') leave('replaced by a dict: a defaultdict');
          out.emptyDict();
        }
        remember(id);
        yield* setItems(node.entries);
        if (node.attributes === undefined) return;
        path.at(-1)!.step = '.__dict__';
        if (node.class !== 'OrderedDict') return leave('attributes of a dict');
        yield node.attributes;
        out.build();
        return;
      }
      case 'object': {
        const scalar = numpyScalar(nodes, node);
        if (scalar !== undefined) {
          leave('replaced by a plain number: a scalar of numpy');
          if (typeof scalar === 'object' && scalar !== null) return atom(id, scalar);
          return typeof scalar === 'number' ? out.integer(scalar) : out.boolean(scalar === true);
        }
        const plain = asPlain(nodes, node)!;
        leave(`replaced by a ${plain.kind}: an object of ${node.module}.${node.name}`);
        if (plain.kind === 'list') {
          out.emptyList();
          remember(id);
          return yield* appends(plain.items);
        }
        out.emptyDict();
        remember(id);
        return yield* setItems(plain.entries);
      }
      case 'plain': {
        const replaced = plainText(nodes, node);
        if (replaced !== undefined) {
          leave(`replaced by text: a ${node.class}`);
          return out.text(replaced, false);
        }
        if (node.class === 'torch.dtype') return out.global('torch', String(nodes[node.value]));
        if (node.class === 'torch.layout') out.global('torch.serialization', '_get_layout');
        else out.global('torch', node.class.slice('torch.'.length));
        yield node.value;
        out.call();
        return remember(id);
      }
      default:
        return atom(id, node);
    }
  }

  const atom = (id: NodeId, node: Composite): void => {
    switch (node.kind) {
      case 'int':
        return out.long(encodeLong(BigInt(node.decimal)));
      case 'float':
        return out.float(floatOf(node.value));
      case 'complex':
        out.global('__builtin__', 'complex');
        out.float(numberOf(nodes[node.real]));
        out.float(numberOf(nodes[node.imag]));
        out.tuple(2);
        out.call();
        return remember(id);
      case 'bytes':
        out.bytes(Buffer.from(node.base64, 'base64'));
        return remember(id);
      case 'bytearray':
        out.global('__builtin__', 'bytearray');
        out.bytes(Buffer.from(node.base64, 'base64'));
        out.tuple(1);
        out.call();
        return remember(id);
      case 'tensor': {
        const given = tensorAt(node.tensor);
        if (typeof given === 'string') throw new Error('a tensor was to be left out');
        writeTensor(out, given, where);
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
    if (node === null) return void out.none();
    if (typeof node === 'boolean') return out.boolean(node);
    if (typeof node === 'number') return out.integer(node);
    if (typeof node === 'string') return out.text(node, (counts.texts.get(node) ?? 0) > 1);
    if (out.recall(id)) return;
    path.push({ steps: compose(id, node), step: '' });
  };

  const why = refusal(tree.root);
  if (why !== undefined) throw new TypeError(`the root of a pickle cannot be ${why}`);
  visit(tree.root);
  for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
    const { value, done } = frame.steps.next();
    if (done === true) path.pop();
    else visit(value);
  }
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
