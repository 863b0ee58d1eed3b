/**
 * What torch puts into a pickle: storages behind persistent ids, and calls that rebuild tensors over them.
 *
 * Invariant: every tensor in the table lies inside its storage, every storage has exactly the length that the container says;
 * whatever does not fit is refused here, so nothing later computes with unchecked numbers.
 */
import { bytesPerElement, dtypeKind, type Dtype } from '../../model/dtype.ts';
import type { Tensor } from '../../model/header.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { PickleSyntaxError } from '../pickle/cursor.ts';
import { isTensorClass, TORCH_DTYPES } from '../pickle/globals.ts';
import type { DenseTensor } from '../pickle/host.ts';
import { argumentsIn } from './arguments.ts';
import { dtensor } from './dtensor.ts';
import { kindOfClass, torchStorages, type StorageTable } from './storages.ts';
import { checkBounds, checkRank, isContiguous } from './strides.ts';
import { stateChecker } from './tensor-state.ts';

/** Entries of a tensor's metadata: torch writes two, `conj` and `neg`, and devices of others may add theirs. */
const METADATA_MOST = 8;

type TensorNode = Extract<ValueNode, { kind: 'tensor' }>;

const UNSUPPORTED: Readonly<Record<string, string>> = {
  _rebuild_qtensor: 'quantized',
  _rebuild_meta_tensor_no_storage: 'meta',
  _rebuild_nested_tensor: 'nested',
  _rebuild_wrapper_subclass: 'wrapper_subclass',
  _rebuild_device_tensor_from_numpy: 'device_numpy',
  _rebuild_device_tensor_from_cpu_tensor: 'device_tensor',
};

export interface TensorTable extends StorageTable {
  readonly tensors: Tensor[];
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
  const { object, tuple, count, text } = argumentsIn(nodes);
  const { persistent, named, kindOf } = torchStorages(table);
  const checkState = stateChecker(nodes);

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
    const held = object(args[0]);
    if (held?.kind !== 'storage') throw new PickleSyntaxError('a tensor over something that is not a storage', position);
    let dtype: Dtype | undefined;
    if (v3) {
      const value = object(args[6]);
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
    const shape = shapeOf(tuple(args[2], 'a size', position).map((id) => count(id, 'a size', position)));
    const stride = tuple(args[3], 'a stride', position).map((id) => count(id, 'a stride', position));
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
    const storage = named(type, key, device, numel, persistentAt);
    const dtype = dtypeOf(storage, callAt);
    if (dtype === undefined) return unsupported('quantized');
    const shape = shapeOf(sizes);
    checkRank(shape, stride, callAt);
    return { kind: 'tensor', tensor: tensors.push(viewOf(storage, dtype, offset, shape, stride, callAt)) - 1 };
  };

  /** What a storage's class says; undefined: quantized. */
  const dtypeOf = (storage: number, position: number): Dtype | undefined => {
    const kind = kindOf(storage);
    if (kind === undefined) throw new PickleSyntaxError('a tensor over a storage of no type', position);
    return kind === 'quantized' ? undefined : kind;
  };

  /** torch turns the bytes of a big-endian archive as the numbers of their storage's class, whatever numbers a tensor sees in them. */
  const isTurnedOtherwise = (storage: number, dtype: Dtype): boolean => {
    const kind = kindOf(storage) ?? 'quantized';
    return storages[storage]?.byteOrder === 'big' && (kind === 'quantized' || bytesPerNumber(kind) !== bytesPerNumber(dtype));
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
    const hooks = object(id);
    if (id === undefined || (nodes[id] !== null && (hooks?.kind !== 'dict' || hooks.entries.length > 0)))
      throw new PickleSyntaxError('backward hooks on a tensor', position);
  };

  const metadataBits = (id: NodeId | undefined, position: number): { conjugate?: true; negative?: true } => {
    if (id === undefined || nodes[id] === null) return {};
    const node = object(id);
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
    const node = object(id);
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

  const distributed = (args: readonly NodeId[], position: number): ValueNode => {
    const made = dtensor(args, table, position);
    return 'dtype' in made ? { kind: 'tensor', tensor: tensors.push({ ...made }) - 1 } : unsupported(made.unsupported);
  };

  const call = (module: string, name: string, args: readonly NodeId[], position: number): ValueNode | NodeId | undefined => {
    if (module === 'torch._utils') {
      if (name === '_rebuild_tensor' || name === '_rebuild_tensor_v2' || name === '_rebuild_tensor_v3') return dense(name, args, position);
      if (name === '_rebuild_parameter' || name === '_rebuild_parameter_with_state') {
        if (args.length !== (name === '_rebuild_parameter' ? 3 : 4))
          throw new PickleSyntaxError(`${name} with ${args.length} arguments`, position);
        return withAttributes(parameterOf(args[0], args[1], args[2], position), checkState(args[3], position));
      }
      if (name.startsWith('_rebuild_sparse')) {
        const layout = object(args[0]);
        const held = layout?.kind === 'plain' && layout.class === 'torch.layout' ? object(layout.value) : undefined;
        const value = held?.kind === 'tuple' && held.items[0] !== undefined ? nodes[held.items[0]] : undefined;
        return unsupported(typeof value === 'string' ? value.replace('torch.', '').slice(0, 40) : 'sparse');
      }
      return unsupported(UNSUPPORTED[name] ?? name);
    }
    if (module === 'torch._tensor' || module === 'torch.tensor') {
      const builder = object(args[0]);
      if (args.length !== 4 || builder?.kind !== 'global') throw new PickleSyntaxError(`${name} without a builder`, position);
      const attributes = checkState(args[3], position);
      if (builder.module !== 'torch._utils') return unsupported(`built by ${builder.module}.${builder.name}`.slice(0, 200));
      if (builder.name === '_rebuild_wrapper_subclass') return withAttributes(distributed(args, position), attributes);
      // The type only matters to Python; what is built is the inner tensor.
      return withAttributes(call(builder.module, builder.name, tuple(args[2], 'builder arguments', position), position), attributes);
    }
    if (module === 'torch.nn.parameter') {
      if (object(args[0])?.kind !== 'tensor') return undefined;
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
    const node = object(target);
    const isEmpty = node?.kind === 'object' && isTensorClass(node.module, node.name);
    if (node?.kind !== 'tensor' && !isEmpty) return undefined;
    const state = tuple(stateId, 'the state of a tensor', position);
    if (state.length === 4) {
      const made = dense('_rebuild_tensor', state, position);
      const dtype = tensors[made.tensor]?.dtype;
      if (isEmpty && node.name !== 'Tensor' && kindOfClass(node.name.replace('Tensor', 'Storage')) !== dtype)
        throw new PickleSyntaxError(`a ${node.name} over a storage of ${dtype}`, position);
      return made;
    }
    if (isEmpty || (state.length !== 3 && state.length !== 5)) throw new PickleSyntaxError('a state that no tensor has', position);
    return state.length === 5 ? parameterOf(state[0], state[3], state[2], position) : parameterOf(target, state[0], state[2], position);
  };
  return { persistent: (id, position) => ({ kind: 'storage', storage: persistent(id, position) }), tensor: plain, call, build };
}

/** What a call made, with the attributes that torch then sets on it. */
function withAttributes<Made extends ValueNode | undefined>(made: Made, attributes: NodeId | undefined): Made {
  return attributes === undefined || typeof made !== 'object' || made?.kind !== 'tensor' ? made : { ...made, attributes };
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
