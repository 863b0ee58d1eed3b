/**
 * What torch puts into a pickle: storages behind persistent ids, and calls that rebuild tensors over them.
 *
 * Invariant: every tensor in the table lies inside its storage, every storage has exactly the length that the container says;
 * whatever does not fit is refused here, so nothing later computes with unchecked numbers.
 */
import { bytesPerElement, dtypeKind, type Dtype } from '../../model/dtype.ts';
import type { Storage, Tensor } from '../../model/header.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { EXPANDED_FROM, MAX_DIMENSIONS, MAX_EXPANSION, MAX_TENSOR_BYTES } from '../limits-pickle.ts';
import { PickleSyntaxError } from '../pickle/cursor.ts';
import { isTensorClass, TORCH_DTYPES } from '../pickle/globals.ts';
import type { DenseTensor } from '../pickle/host.ts';
import { stateChecker } from './tensor-state.ts';

/** Entries of a tensor's metadata: torch writes two, `conj` and `neg`, and devices of others may add theirs. */
const METADATA_MOST = 8;
/** Entries of what a DTensor and its spec hold: some ten. Very many tensors may share them. */
const FIELDS_MOST = 256;
/** Characters of a storage's key: torch writes numbers. */
const KEY_MOST = 1024;
/** Up to here sums and products of elements and bytes are exact. */
const PLAIN_MOST = 2 ** 48;

type TensorNode = Extract<ValueNode, { kind: 'tensor' }>;
type Kind = Dtype | 'quantized';

const STORAGE_DTYPES: Readonly<Record<string, Kind>> = {
  FloatStorage: 'F32',
  DoubleStorage: 'F64',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
  ComplexFloatStorage: 'C64',
  ComplexDoubleStorage: 'C128',
  // As torch reads it: bytes, until a tensor says more.
  UntypedStorage: 'U8',
  QInt8Storage: 'quantized',
  QUInt8Storage: 'quantized',
  QInt32Storage: 'quantized',
  QUInt4x2Storage: 'quantized',
  QUInt2x4Storage: 'quantized',
};
const QUANTIZED_BYTES: Readonly<Record<string, number>> = { QInt32Storage: 4 };
const UNSUPPORTED: Readonly<Record<string, string>> = {
  _rebuild_qtensor: 'quantized',
  _rebuild_meta_tensor_no_storage: 'meta',
  _rebuild_nested_tensor: 'nested',
  _rebuild_wrapper_subclass: 'wrapper_subclass',
  _rebuild_device_tensor_from_numpy: 'device_numpy',
  _rebuild_device_tensor_from_cpu_tensor: 'device_tensor',
};

export interface TensorTable {
  readonly nodes: ValueNode[];
  readonly storages: Storage[];
  readonly tensors: Tensor[];
  /** The bytes behind a storage key, a fresh object, or undefined where there are none. `described` is what the pickle says of them. */
  readonly locate: (key: string, described: DescribedStorage) => Pick<Storage, 'file' | 'location' | 'length' | 'byteOrder'> | undefined;
  /** Told of storages that are part of another, `offset` bytes into it, as torch before 0.4 wrote them; absent: refused. */
  readonly view?: (storage: number, root: number, offset: number) => void;
}

export interface DescribedStorage {
  readonly elements: number;
  /** Bytes of one element. */
  readonly size: number;
}

export interface TensorHost {
  readonly persistent: (id: NodeId, position: number) => ValueNode;
  readonly tensor: (tensor: DenseTensor) => ValueNode;
  readonly call: (module: string, name: string, args: readonly NodeId[], position: number) => ValueNode | NodeId | undefined;
  readonly build: (target: NodeId, state: NodeId, position: number) => ValueNode | undefined;
}

/** What interprets torch's persistent ids and calls, writing into `table`; throws `PickleSyntaxError`. */
export function torchHost(table: TensorTable): TensorHost {
  const { nodes, storages, tensors } = table;
  const known = storageIndex();
  const checkState = stateChecker(nodes);
  /** By storage. */
  const kinds: Kind[] = [];
  const lengths: number[] = [];
  /** By storage and kind. */
  const empties = new Map<string, number>();
  const parts = new Map<string, { id: number; root: number; offset: number; length: number }>();

  const objectAt = (id: NodeId | undefined): Exclude<ValueNode, null | boolean | number | string> | undefined => {
    const node = id === undefined ? undefined : nodes[id];
    return typeof node === 'object' && node !== null ? node : undefined;
  };
  const tupleOf = (id: NodeId | undefined, what: string, position: number): readonly NodeId[] => {
    let node = objectAt(id);
    if (node?.kind === 'plain' && node.class === 'torch.Size') {
      node = objectAt(node.value);
      if (node?.kind === 'tuple') node = objectAt(node.items[0]);
    }
    if (node?.kind !== 'tuple' && node?.kind !== 'list') throw new PickleSyntaxError(`${what} is not a tuple`, position);
    return node.items;
  };
  const count = (id: NodeId | undefined, what: string, position: number): number => {
    const value = id === undefined ? undefined : nodes[id];
    if (typeof value !== 'number' || value < 0) throw new PickleSyntaxError(`${what} is not a non-negative integer below 2^53`, position);
    return value;
  };
  const text = (id: NodeId | undefined, what: string, position: number): string => {
    const value = id === undefined ? undefined : nodes[id];
    if (typeof value !== 'string') throw new PickleSyntaxError(`${what} is not a string`, position);
    return value;
  };

  const persistent = (id: NodeId, position: number): ValueNode => {
    const node = objectAt(id);
    if (node?.kind !== 'tuple' || (node.items.length !== 5 && node.items.length !== 6))
      throw new PickleSyntaxError('a persistent id that is not a tuple of 5 or 6 items', position);
    const [tag, type, keyId, location, numelId, view] = node.items;
    if (text(tag, 'the kind of a persistent id', position) !== 'storage')
      throw new PickleSyntaxError('a persistent id that is not a storage', position);
    const className = storageClass(type, position);
    const key = text(keyId, 'a storage key', position);
    if (key.length > KEY_MOST) throw new PickleSyntaxError(`a storage key of ${key.length} characters, at most ${KEY_MOST}`, position);
    const device = text(location, 'a storage location', position);
    const numel = count(numelId, 'the length of a storage', position);
    return { kind: 'storage', storage: storageAt(className, key, device, numel, view, position) };
  };

  const storageClass = (type: NodeId | undefined, position: number): string => {
    const global = objectAt(type);
    if (
      global?.kind !== 'global' ||
      (global.module !== 'torch' && global.module !== 'torch.storage') ||
      !Object.hasOwn(STORAGE_DTYPES, global.name)
    )
      throw new PickleSyntaxError('a storage of an unknown class', position);
    return global.name;
  };

  /** The storage of that key: the one that is known, or a new one. */
  const storageAt = (className: string, key: string, device: string, numel: number, view: NodeId | undefined, position: number): number => {
    const kind = STORAGE_DTYPES[className] ?? 'U8';
    const before = known.get(key);
    if (before !== undefined) {
      // Of one without bytes torch lets tensors of several dtypes be saved, and gives each its own.
      if (lengths[before] !== numel || (kinds[before] !== kind && numel > 0))
        throw new PickleSyntaxError(`storage ${JSON.stringify(key.slice(0, 40))} is described twice, differently`, position);
      const held = part(before, view, kind, numel, position);
      return held === before && kinds[before] !== kind ? emptyAs(before, kind) : held;
    }
    if (parts.has(key)) throw oneKey(key, position);
    const size = kind === 'quantized' ? (QUANTIZED_BYTES[className] ?? 1) : bytesPerElement(kind);
    const place = table.locate(key, { elements: numel, size });
    if (place === undefined) throw new PickleSyntaxError(`storage ${JSON.stringify(key.slice(0, 40))} is not in the file`, position);
    if (!Number.isSafeInteger(numel * size) || numel * size !== place.length)
      throw new PickleSyntaxError(
        `storage ${JSON.stringify(key.slice(0, 40))} has ${place.length} bytes, its description says ${numel * size}`,
        position,
      );
    const index = storages.push(device === 'cpu' ? place : { ...place, device }) - 1;
    known.set(key, index);
    kinds[index] = kind;
    lengths[index] = numel;
    return part(index, view, kind, numel, position);
  };

  /** The same storage without bytes, as one of another kind. */
  const emptyAs = (root: number, kind: Kind): number => {
    const name = `${root} ${kind}`;
    const before = empties.get(name);
    if (before !== undefined) return before;
    const id = storages.push({ ...storages[root]! }) - 1;
    empties.set(name, id);
    kinds[id] = kind;
    table.view?.(id, root, 0);
    return id;
  };

  /** The part of a storage that a persistent id's `(key, offset, length)` names; `None` names all of it. */
  const part = (root: number, view: NodeId | undefined, kind: Kind, numel: number, position: number): number => {
    if (view === undefined || nodes[view] === null) return root;
    if (table.view === undefined) throw new PickleSyntaxError('a storage that is a view of another', position);
    const [keyId, offsetId, lengthId, more] = tupleOf(view, 'a storage view', position);
    const key = text(keyId, 'the key of a storage view', position);
    if (key.length > KEY_MOST) throw new PickleSyntaxError(`a storage key of ${key.length} characters, at most ${KEY_MOST}`, position);
    const offset = count(offsetId, 'the offset of a storage view', position);
    const length = count(lengthId, 'the length of a storage view', position);
    if (more !== undefined || offset + length > numel)
      throw new PickleSyntaxError(`a storage view of ${length} elements from ${offset} in a storage of ${numel}`, position);
    if (known.get(key) !== undefined) throw oneKey(key, position);
    const before = parts.get(key);
    if (before !== undefined) {
      if (before.root !== root || before.offset !== offset || before.length !== length)
        throw new PickleSyntaxError(`storage view ${JSON.stringify(key.slice(0, 40))} is described twice, differently`, position);
      return before.id;
    }
    const whole = storages[root];
    if (whole === undefined) throw new PickleSyntaxError('a view of no storage', position);
    const size = numel === 0 ? 0 : whole.length / numel;
    const id = storages.push({ ...whole, length: length * size }) - 1;
    parts.set(key, { id, root, offset, length });
    kinds[id] = kind;
    table.view(id, root, offset * size);
    return id;
  };

  /** torch looks views and whole storages up in one dict: which of the two it takes depends on which comes first. */
  const oneKey = (key: string, position: number): PickleSyntaxError =>
    new PickleSyntaxError(`${JSON.stringify(key.slice(0, 40))} is the key of a storage and of a view of one`, position, true);

  const unsupported = (reason: string): TensorNode => ({
    kind: 'tensor',
    tensor: tensors.push({ dtype: 'U8', shape: [], storage: -1, offset: 0, unsupported: reason }) - 1,
  });

  /** Neighbours are often of one shape: they share it. */
  let lastShape: readonly number[] = [];
  const shapeOf = (sizes: readonly number[]): readonly number[] =>
    sizes.length === lastShape.length && sizes.every((size, axis) => size === lastShape[axis]) ? lastShape : (lastShape = [...sizes]);

  const dense = (name: string, args: readonly NodeId[], position: number): TensorNode => {
    const v3 = name === '_rebuild_tensor_v3';
    const least = name === '_rebuild_tensor' ? 4 : v3 ? 7 : 6;
    if (args.length < least || args.length > least + 1) throw new PickleSyntaxError(`${name} with ${args.length} arguments`, position);
    const held = objectAt(args[0]);
    if (held?.kind !== 'storage') throw new PickleSyntaxError('a tensor over something that is not a storage', position);
    let dtype: Dtype | undefined;
    if (v3) {
      const value = objectAt(args[6]);
      if (value?.kind !== 'plain' || value.class !== 'torch.dtype') throw new PickleSyntaxError('a dtype that is none of torch', position);
      const found = TORCH_DTYPES[String(nodes[value.value])];
      if (found === undefined || found === '') return unsupported('quantized');
      dtype = found as Dtype; // The table holds our own names.
      if (isTurnedOtherwise(held.storage, dtype)) return unsupported('big_endian_dtype');
    } else {
      dtype = dtypeOf(held.storage, position);
      if (dtype === undefined) return unsupported('quantized');
    }
    const from = count(args[1], 'a storage offset', position);
    const shape = shapeOf(tupleOf(args[2], 'a size', position).map((id) => count(id, 'a size', position)));
    const stride = tupleOf(args[3], 'a stride', position).map((id) => count(id, 'a stride', position));
    checkRank(shape, stride, position);
    const grad = args[4] === undefined ? false : nodes[args[4]];
    if (typeof grad !== 'boolean') throw new PickleSyntaxError('requires_grad is not a bool', position);
    if (grad) checkGradient(dtype, position);
    if (args[5] !== undefined) checkHooks(args[5], position);
    const view = viewOf(held.storage, dtype, from, shape, stride, position);
    const bits = metadataBits(args[v3 ? 7 : 6], position);
    return { kind: 'tensor', tensor: tensors.push({ ...view, ...bits, ...(grad ? { requiresGrad: true } : {}) }) - 1 };
  };

  /** The same, told at once. */
  const plain = ({ type, key, device, numel, offset, sizes, stride, persistentAt, callAt }: DenseTensor): ValueNode => {
    const className = storageClass(type, persistentAt);
    const storage = storageAt(className, key, text(device, 'a storage location', persistentAt), numel, undefined, persistentAt);
    const dtype = dtypeOf(storage, callAt);
    if (dtype === undefined) return unsupported('quantized');
    const shape = shapeOf(sizes);
    checkRank(shape, stride, callAt);
    return { kind: 'tensor', tensor: tensors.push(viewOf(storage, dtype, offset, shape, stride, callAt)) - 1 };
  };

  /** What a storage's class says; undefined: quantized. */
  const dtypeOf = (storage: number, position: number): Dtype | undefined => {
    const kind = kinds[storage];
    if (kind === undefined) throw new PickleSyntaxError('a tensor over a storage of no type', position);
    return kind === 'quantized' ? undefined : kind;
  };

  /** torch turns the bytes of a big-endian archive as the numbers of their storage's class, whatever numbers a tensor sees in them. */
  const isTurnedOtherwise = (storage: number, dtype: Dtype): boolean => {
    const kind = kinds[storage] ?? 'quantized';
    return storages[storage]?.byteOrder === 'big' && (kind === 'quantized' || bytesPerNumber(kind) !== bytesPerNumber(dtype));
  };

  const checkRank = (shape: readonly number[], stride: readonly number[], position: number): void => {
    if (shape.length !== stride.length || shape.length > MAX_DIMENSIONS)
      throw new PickleSyntaxError(`${shape.length} sizes and ${stride.length} strides, at most ${MAX_DIMENSIONS}`, position);
  };

  const viewOf = (
    storage: number,
    dtype: Dtype,
    from: number,
    shape: readonly number[],
    stride: readonly number[],
    position: number,
  ): Tensor => {
    // A view without elements lies nowhere: torch loads it from behind the end of its storage, too.
    const offset = shape.includes(0) ? 0 : from;
    checkBounds(shape, stride, offset, bytesPerElement(dtype), storages[storage]?.length ?? 0, position);
    return isContiguous(shape, stride) ? { dtype, shape, storage, offset } : { dtype, shape, storage, offset, stride: [...stride] };
  };

  const checkHooks = (id: NodeId | undefined, position: number): void => {
    const hooks = objectAt(id);
    if (id === undefined || (nodes[id] !== null && (hooks?.kind !== 'dict' || hooks.entries.length > 0)))
      throw new PickleSyntaxError('backward hooks on a tensor', position);
  };

  const metadataBits = (id: NodeId | undefined, position: number): { conjugate?: true; negative?: true } => {
    if (id === undefined || nodes[id] === null) return {};
    const node = objectAt(id);
    if (node?.kind !== 'dict') throw new PickleSyntaxError('tensor metadata is not a dict', position);
    if (node.entries.length > METADATA_MOST)
      throw new PickleSyntaxError(`tensor metadata of ${node.entries.length} entries, at most ${METADATA_MOST}`, position);
    const bits: { conjugate?: true; negative?: true } = {};
    for (const [key, value] of node.entries) {
      const name = text(key, 'a key of tensor metadata', position);
      if (typeof nodes[value] !== 'boolean') throw new PickleSyntaxError(`tensor metadata ${name.slice(0, 40)} is not a bool`, position);
      if (name !== 'conj' && name !== 'neg') continue;
      // torch sets the bit whatever the value is, and writes none that is not set.
      if (nodes[value] !== true) throw new PickleSyntaxError(`tensor metadata ${name} is False`, position);
      if (name === 'conj') bits.conjugate = true;
      else bits.negative = true;
    }
    return bits;
  };

  const tensorAt = (id: NodeId | undefined, position: number): Tensor => {
    const node = objectAt(id);
    const tensor = node?.kind === 'tensor' ? tensors[node.tensor] : undefined;
    if (tensor === undefined) throw new PickleSyntaxError('a parameter of something that is not a tensor', position);
    return tensor;
  };
  const copyOf = (id: NodeId | undefined, extra: Partial<Tensor>, position: number): ValueNode => ({
    kind: 'tensor',
    tensor: tensors.push({ ...tensorAt(id, position), ...extra }) - 1,
  });

  const parameterOf = (data: NodeId | undefined, grad: NodeId | undefined, hooks: NodeId | undefined, position: number): ValueNode => {
    const requiresGrad = grad === undefined ? undefined : nodes[grad];
    if (typeof requiresGrad !== 'boolean') throw new PickleSyntaxError('requires_grad is not a bool', position);
    checkHooks(hooks, position);
    return parameter(data, requiresGrad, position);
  };

  /** What it asks for counts, not what its tensor did. */
  const parameter = (data: NodeId | undefined, requiresGrad: boolean, position: number): ValueNode => {
    const { requiresGrad: _, ...tensor } = tensorAt(data, position);
    if (requiresGrad && tensor.unsupported === undefined) checkGradient(tensor.dtype, position);
    return { kind: 'tensor', tensor: tensors.push({ ...tensor, parameter: true, ...(requiresGrad ? { requiresGrad: true } : {}) }) - 1 };
  };

  /**
   * A DTensor, of which a process saves its own part: the tensor itself where that is all of it, on one process or replicated.
   * Of other wrappers only Python knows what they stand for.
   */
  const distributed = ([, type, argsId, stateId]: readonly NodeId[], position: number): ValueNode => {
    const name = objectAt(type);
    if (name?.kind !== 'global' || name.name !== 'DTensor') return unsupported('wrapper_subclass');
    // The values of its slots, which Python keeps apart from an instance's dict.
    const state = objectAt(stateId);
    const slots = state?.kind === 'tuple' ? state.items[1] : stateId;
    const localId = fieldAt(slots, '_local_tensor', position);
    const local = objectAt(localId);
    const tensor = local?.kind === 'tensor' ? tensors[local.tensor] : undefined;
    const spec = objectAt(fieldAt(slots, '_spec', position));
    if (tensor === undefined || spec?.kind !== 'object')
      throw new PickleSyntaxError('a DTensor without a local tensor and a spec', position);
    const placements = few(fieldAt(spec.state, 'placements', position), 'the placements of a DTensor', position).map(objectAt);
    const [, , sizeId] = tupleOf(argsId, 'builder arguments', position);
    const size = few(sizeId, 'a size', position).map((id) => count(id, 'a size', position));
    if (tensor.unsupported !== undefined) return unsupported(tensor.unsupported);
    // Parts of a sum have the shape of the whole.
    if (placements.some((each) => each?.kind !== 'object' || /partial/i.test(each.name))) return unsupported('dtensor_partial');
    const isWhole = tensor.shape.length === size.length && tensor.shape.every((each, axis) => each === size[axis]);
    return isWhole ? copyOf(localId, {}, position) : unsupported('dtensor_shard');
  };

  const fieldAt = (id: NodeId | undefined, name: string, position: number): NodeId | undefined => {
    const node = objectAt(id);
    if (node?.kind !== 'dict') return undefined;
    if (node.entries.length > FIELDS_MOST)
      throw new PickleSyntaxError(`a DTensor with a dict of ${node.entries.length} entries, at most ${FIELDS_MOST}`, position);
    return node.entries.find(([key]) => nodes[key] === name)?.[1];
  };
  /** A tuple with a place for each dimension, of a tensor or of the devices. */
  const few = (id: NodeId | undefined, what: string, position: number): readonly NodeId[] => {
    const items = tupleOf(id, what, position);
    if (items.length > MAX_DIMENSIONS) throw new PickleSyntaxError(`${what} of ${items.length} items, at most ${MAX_DIMENSIONS}`, position);
    return items;
  };

  const call = (module: string, name: string, args: readonly NodeId[], position: number): ValueNode | NodeId | undefined => {
    if (module === 'torch._utils') {
      if (name === '_rebuild_tensor' || name === '_rebuild_tensor_v2' || name === '_rebuild_tensor_v3') return dense(name, args, position);
      if (name === '_rebuild_parameter' || name === '_rebuild_parameter_with_state') {
        if (args.length !== (name === '_rebuild_parameter' ? 3 : 4))
          throw new PickleSyntaxError(`${name} with ${args.length} arguments`, position);
        checkState(args[3], position);
        return parameterOf(args[0], args[1], args[2], position);
      }
      if (name.startsWith('_rebuild_sparse')) {
        const layout = objectAt(args[0]);
        const held = layout?.kind === 'plain' && layout.class === 'torch.layout' ? objectAt(layout.value) : undefined;
        const value = held?.kind === 'tuple' && held.items[0] !== undefined ? nodes[held.items[0]] : undefined;
        return unsupported(typeof value === 'string' ? value.replace('torch.', '').slice(0, 40) : 'sparse');
      }
      return unsupported(UNSUPPORTED[name] ?? name);
    }
    if (module === 'torch._tensor' || module === 'torch.tensor') {
      const builder = objectAt(args[0]);
      if (args.length !== 4 || builder?.kind !== 'global') throw new PickleSyntaxError(`${name} without a builder`, position);
      checkState(args[3], position);
      // The type and what else is in the state only matter to Python; what is built is the inner tensor.
      if (builder.module !== 'torch._utils') return unsupported(`built by ${builder.module}.${builder.name}`.slice(0, 200));
      if (builder.name === '_rebuild_wrapper_subclass') return distributed(args, position);
      return call(builder.module, builder.name, tupleOf(args[2], 'builder arguments', position), position);
    }
    if (module === 'torch.nn.parameter') {
      if (objectAt(args[0])?.kind !== 'tensor') return undefined;
      if (name !== 'Parameter') return copyOf(args[0], { parameter: true }, position);
      // As `Parameter(data, requires_grad=True)`.
      const grad = args[1] === undefined ? true : nodes[args[1]];
      if (typeof grad !== 'boolean') throw new PickleSyntaxError('requires_grad is not a bool', position);
      return parameter(args[0], grad, position);
    }
    return undefined;
  };

  /**
   * The states of torch before 0.4, in the forms of `Tensor.__setstate__`: of a tensor without values (storage, offset, size,
   * stride), of a parameter (requires_grad, volatile, hooks) or (data, grad, hooks, requires_grad, volatile).
   */
  const build = (target: NodeId, stateId: NodeId, position: number): ValueNode | undefined => {
    const node = objectAt(target);
    const isEmpty = node?.kind === 'object' && isTensorClass(node.module, node.name);
    if (node?.kind !== 'tensor' && !isEmpty) return undefined;
    const state = tupleOf(stateId, 'the state of a tensor', position);
    if (state.length === 4) {
      const made = dense('_rebuild_tensor', state, position);
      const dtype = tensors[made.tensor]?.dtype;
      if (isEmpty && node.name !== 'Tensor' && STORAGE_DTYPES[node.name.replace('Tensor', 'Storage')] !== dtype)
        throw new PickleSyntaxError(`a ${node.name} over a storage of ${dtype}`, position);
      return made;
    }
    if (isEmpty || (state.length !== 3 && state.length !== 5)) throw new PickleSyntaxError('a state that no tensor has', position);
    return state.length === 5 ? parameterOf(state[0], state[3], state[2], position) : parameterOf(target, state[0], state[2], position);
  };
  return { persistent, tensor: plain, call, build };
}

/** Storages by their keys. torch counts them from 0, so that most are found by number; all others by their text. */
function storageIndex(): { readonly get: (key: string) => number | undefined; readonly set: (key: string, storage: number) => void } {
  const counted: number[] = [];
  const named = new Map<string, number>();
  return {
    get: (key) => {
      const number = numberIn(key);
      return number >= 0 && number < counted.length ? counted[number] : named.size === 0 ? undefined : named.get(key);
    },
    set: (key, storage) => {
      if (numberIn(key) === counted.length) counted.push(storage);
      else named.set(key, storage);
    },
  };
}

/** A number as it is written out, of up to eight digits; -1 for any other text. */
function numberIn(key: string): number {
  if (key.length === 0 || key.length > 8 || (key.length > 1 && key.startsWith('0'))) return -1;
  let number = 0;
  for (let at = 0; at < key.length; at++) {
    const digit = key.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}

/** Half of an element's for complex kinds. */
function bytesPerNumber(dtype: Dtype): number {
  return bytesPerElement(dtype) / (dtypeKind(dtype) === 'complex' ? 2 : 1);
}

/** torch loads none that should have a gradient but those of floats and complex numbers. */
function checkGradient(dtype: Dtype, position: number): void {
  const kind = dtypeKind(dtype);
  if (kind !== 'float' && kind !== 'complex') throw new PickleSyntaxError(`a gradient for a tensor of ${dtype}`, position);
}

function checkBounds(
  shape: readonly number[],
  stride: readonly number[],
  offset: number,
  size: number,
  length: number,
  position: number,
): void {
  if (fitsPlainly(shape, stride, offset, size, length)) return;
  const elements = shape.reduce((product, each) => product * BigInt(each), 1n);
  const bytes = elements * BigInt(size);
  let last = BigInt(offset);
  for (const [index, each] of shape.entries()) last += BigInt(Math.max(0, each - 1)) * BigInt(stride[index] ?? 0);
  const end = elements === 0n ? 0n : (last + 1n) * BigInt(size);
  if (end > BigInt(length)) throw new PickleSyntaxError(`a tensor reaches byte ${end} of a storage of ${length}`, position);
  if (bytes > BigInt(MAX_TENSOR_BYTES)) throw new PickleSyntaxError(`a tensor of ${bytes} bytes`, position);
  if (bytes > BigInt(EXPANDED_FROM) && bytes > BigInt(length) * BigInt(MAX_EXPANSION))
    throw new PickleSyntaxError(`a tensor of ${bytes} bytes over a storage of ${length}`, position);
}

/** The usual case in plain numbers: no product near 2^53, and no more bytes than the storage has. */
function fitsPlainly(shape: readonly number[], stride: readonly number[], offset: number, size: number, length: number): boolean {
  let elements = 1;
  let last = offset;
  for (let axis = 0; axis < shape.length; axis++) {
    elements *= shape[axis]!;
    last += Math.max(0, shape[axis]! - 1) * stride[axis]!;
    if (elements > PLAIN_MOST || last > PLAIN_MOST) return false;
  }
  return elements > 0 && elements * size <= Math.min(length, MAX_TENSOR_BYTES) && (last + 1) * size <= length;
}

/** Row-major without gaps; the strides of sizes 0 and 1 say nothing. */
function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  if (shape.includes(0)) return true;
  let expected = 1;
  for (let index = shape.length - 1; index >= 0; index -= 1) {
    const size = shape[index] ?? 1;
    if (size !== 1 && stride[index] !== expected) return false;
    expected *= size;
  }
  return true;
}
