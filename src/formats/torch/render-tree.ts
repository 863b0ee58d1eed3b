/**
 * A value of a checkpoint as plain JSON, to be shown: hyper-parameters, callbacks, loops, optimizer groups.
 *
 * What JSON has is itself; what people write as text (paths, dates, devices) is text; all else is an object with one key that
 * begins with `$` (`$int`, `$float`, `$tensor`, `$class` …). Invariant: the result is bounded by `RenderLimits` whatever the tree
 * shares or contains; what is cut says so (`$more`, `$cycle`).
 */
import type { Json } from '../../errors.ts';
import type { Storage, Tensor } from '../../model/header.ts';
import type { NodeId, ValueNode, ValueTree } from '../../model/value.ts';
import { MAX_DIMENSIONS } from '../limits-pickle.ts';
import { numpyValue } from './numpy.ts';

const RENDER_LIMITS = {
  /** Values in all. */
  values: 20_000,
  /** Nesting; OmegaConf takes two levels for one. */
  depth: 40,
  /** Items of one list or dict. */
  items: 200,
  /** Characters of one text. */
  text: 2_000,
  /** Elements of one NumPy array, and bytes of one byte string. */
  elements: 100,
} as const;
type RenderLimits = { readonly [name in keyof typeof RENDER_LIMITS]: number };

/** What a rendered value refers to. */
interface RenderSource {
  readonly tree: ValueTree;
  readonly tensors: readonly Tensor[];
  readonly storages: readonly Storage[];
}

type Known = Exclude<ValueNode, null | boolean | number | string>;

/** Renders the value at `root`; of a dict there, the keys in `without` are left out. */
export function renderTree(
  { tree, tensors, storages }: RenderSource,
  root: NodeId,
  { without = new Set<string>(), limits = RENDER_LIMITS }: { readonly without?: ReadonlySet<string>; readonly limits?: RenderLimits } = {},
): Json {
  const { nodes } = tree;
  const onPath = new Set<NodeId>();
  let left = limits.values;

  const at = (id: NodeId | undefined): ValueNode | undefined => (id === undefined ? undefined : nodes[id]);
  const known = (id: NodeId | undefined): Known | undefined => {
    const node = at(id);
    return typeof node === 'object' && node !== null ? node : undefined;
  };
  const items = (id: NodeId | undefined): readonly NodeId[] => {
    const node = known(id);
    return node?.kind === 'tuple' || node?.kind === 'list' ? node.items : [];
  };
  const field = (id: NodeId | undefined, name: string): NodeId | undefined => {
    const node = known(id);
    return node?.kind === 'dict' ? node.entries.find(([key]) => nodes[key] === name)?.[1] : undefined;
  };
  const text = (value: string): string =>
    value.length <= limits.text ? value : `${value.slice(0, limits.text)}… (${value.length - limits.text} more characters)`;
  const bytes = (base64: string): Json => {
    const length = Buffer.byteLength(base64, 'base64');
    return length <= limits.elements
      ? { $bytes: base64 }
      : { $bytes: Buffer.from(base64, 'base64').toString('base64', 0, limits.elements), $more: length - limits.elements };
  };

  const list = (ids: readonly NodeId[], depth: number): readonly Json[] => {
    const shown = ids.slice(0, limits.items).map((id) => render(id, depth + 1));
    return ids.length > shown.length ? [...shown, { $more: ids.length - shown.length }] : shown;
  };
  const dict = (entries: readonly (readonly [NodeId, NodeId])[], depth: number): Json => {
    const shown = entries.slice(0, limits.items);
    const more: readonly (readonly [string, Json])[] = entries.length > shown.length ? [['$more', entries.length - shown.length]] : [];
    const names = shown.map(([key]) => keyText(at(key)));
    const plain = names.every((name) => name !== undefined && !name.startsWith('$')) && new Set(names).size === names.length;
    // From entries, so that a key such as __proto__ is one like any other.
    if (plain)
      return Object.fromEntries([...shown.map(([, value], index) => [text(names[index]!), render(value, depth + 1)] as const), ...more]);
    return Object.fromEntries([
      ['$dict', shown.map(([key, value]) => [render(key, depth + 1), render(value, depth + 1)])] as const,
      ...more,
    ]);
  };

  function render(id: NodeId, depth: number): Json {
    const node = at(id);
    if (left-- <= 0) return { $more: 1 };
    if (typeof node === 'string') return text(node);
    if (typeof node !== 'object' || node === null) return node ?? null;
    if (onPath.has(id)) return { $cycle: true };
    if (depth > limits.depth) return { $more: 1 };
    onPath.add(id);
    try {
      return renderKnown(node, depth);
    } finally {
      onPath.delete(id);
    }
  }

  function renderKnown(node: Known, depth: number): Json {
    switch (node.kind) {
      case 'int':
        return { $int: text(node.decimal) };
      case 'float':
        return typeof node.value === 'number' ? node.value : { $float: node.value };
      case 'complex':
        return { $complex: [render(node.real, depth + 1), render(node.imag, depth + 1)] };
      case 'bytes':
      case 'bytearray':
        return bytes(node.base64);
      case 'list':
      case 'tuple':
        return list(node.items, depth);
      case 'set':
      case 'frozenset':
        return { $set: list(node.items, depth) };
      case 'dict':
        return dict(node.entries, depth);
      case 'tensor': {
        const tensor = tensors[node.tensor];
        if (tensor === undefined) return { $tensor: null };
        const { dtype, shape, unsupported } = tensor;
        return { $tensor: unsupported === undefined ? { dtype, shape } : { shape, unsupported } };
      }
      case 'storage':
        return { $storage: { bytes: storages[node.storage]?.length ?? 0 } };
      case 'global':
        return { $global: `${node.module}.${node.name}` };
      case 'plain':
        return plainValue(node.class, node.value, depth) ?? { $class: node.class, args: render(node.value, depth + 1) };
      case 'object':
        return renderObject(node, depth);
    }
  }

  function renderObject(node: Extract<Known, { kind: 'object' }>, depth: number): Json {
    const name = `${node.module}.${node.name}`;
    if (node.module.startsWith('omegaconf.')) {
      const content = field(node.state, '_content') ?? field(node.state, '_val');
      if (content !== undefined) return render(content, depth + 1);
    }
    const array = numpyValue(nodes, node, Math.min(left, limits.elements));
    if (array !== undefined && isShape(array.shape)) {
      left -= array.values?.length ?? 0;
      const { dtype, shape, values } = array;
      if (shape.length === 0 && values?.[0] !== undefined) return values[0];
      return { $array: { dtype, shape, ...(values === null || values.length === 0 ? {} : { values: nested(values, shape) }) } };
    }
    if (name === 'uuid.UUID') {
      const value = at(field(node.state, 'int'));
      const number =
        typeof value === 'number' ? BigInt(value) : typeof value === 'object' && value?.kind === 'int' ? BigInt(value.decimal) : undefined;
      if (number !== undefined && number >= 0n && number < 1n << 128n)
        return number
          .toString(16)
          .padStart(32, '0')
          .replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    }
    const state = known(node.state);
    if ((name === 'argparse.Namespace' || name === 'types.SimpleNamespace') && state?.kind === 'dict') return dict(state.entries, depth);
    if (name === 'collections.deque') return list(node.items ?? items(items(node.args)[0]), depth);
    const args = items(node.args);
    return {
      $class: name,
      ...(args.length === 0 ? {} : { args: list(args, depth) }),
      ...(node.kwargs === undefined ? {} : { kwargs: render(node.kwargs, depth + 1) }),
      ...(node.state === undefined || at(node.state) === null ? {} : { state: render(node.state, depth + 1) }),
      ...(node.items === undefined ? {} : { items: list(node.items, depth) }),
      ...(node.entries === undefined ? {} : { entries: dict(node.entries, depth) }),
    };
  }

  /** The text or list of a well-known class; `undefined` where its arguments are not the usual ones. */
  function plainValue(name: string, value: NodeId, depth: number): Json | undefined {
    const args = items(value);
    const first = at(args[0]);
    const numbers = args.map(at).filter((each) => typeof each === 'number');
    const allNumbers = numbers.length === args.length;
    if (name.startsWith('pathlib')) {
      const parts = args.map(at);
      if (!parts.every((part) => typeof part === 'string')) return undefined;
      const separator = name.includes('Windows') ? '\\' : '/';
      return text(parts.reduce((path, part) => (path === '' || path.endsWith(separator) ? path + part : path + separator + part), ''));
    }
    const packed = known(args[0]);
    const data = packed?.kind === 'bytes' ? Buffer.from(packed.base64, 'base64') : undefined;
    switch (name) {
      case 'torch.dtype':
        return `torch.${String(at(value))}`;
      case 'torch.layout':
      case 'decimal.Decimal':
        return typeof first === 'string' ? text(first) : undefined;
      case 'torch.device':
        return typeof first === 'string' ? args.map((each) => String(at(each))).join(':') : undefined;
      case 'torch.Size':
        return list(items(args[0]), depth);
      case 'fractions.Fraction':
        return typeof first === 'string' ? text(first) : allNumbers && numbers.length === 2 ? numbers.join('/') : undefined;
      case 'datetime.timedelta':
        return allNumbers ? { $seconds: (numbers[0] ?? 0) * 86_400 + (numbers[1] ?? 0) + (numbers[2] ?? 0) / 1e6 } : undefined;
      case 'datetime.timezone': {
        const offset = secondsOf(args[0]);
        return offset === undefined ? undefined : `UTC${offsetText(offset)}`;
      }
      case 'datetime.date':
        return data?.length === 4 ? dateText(data) : undefined;
      case 'datetime.time':
        return data?.length === 6 ? timeText(data, 0) : undefined;
      case 'datetime.datetime': {
        const zone = known(args[1]);
        const offset = zone?.kind === 'plain' && zone.class === 'datetime.timezone' ? secondsOf(items(zone.value)[0]) : undefined;
        if (data?.length !== 10 || (args.length > 1 && offset === undefined)) return undefined;
        return `${dateText(data)}T${timeText(data, 4)}${offset === undefined ? '' : offsetText(offset)}`;
      }
      default:
        return undefined;
    }
  }

  /** Of a timedelta. */
  function secondsOf(id: NodeId | undefined): number | undefined {
    const node = known(id);
    if (node?.kind !== 'plain' || node.class !== 'datetime.timedelta') return undefined;
    const [days, seconds] = items(node.value).map(at);
    return typeof days === 'number' && typeof seconds === 'number' ? days * 86_400 + seconds : undefined;
  }

  const top = known(root);
  if (top?.kind !== 'dict' || without.size === 0) return render(root, 0);
  onPath.add(root);
  return dict(
    top.entries.filter(([key]) => !without.has(String(at(key)))),
    0,
  );
}

function keyText(node: ValueNode | undefined): string | undefined {
  if (typeof node === 'string') return node;
  if (typeof node === 'number' || typeof node === 'boolean') return String(node);
  return undefined;
}

/** Whether a shape is one that NumPy can have: what is none is shown as the object that it is. */
function isShape(shape: readonly number[]): boolean {
  return shape.length <= MAX_DIMENSIONS && shape.every((size) => size >= 0);
}

/** Values in C order as lists within lists: at least one, as a shape without elements has no bound on its other sizes. */
function nested(values: readonly Json[], shape: readonly number[]): Json {
  const [, ...rest] = shape;
  if (rest.length === 0) return values;
  const step = rest.reduce((product, size) => product * size, 1);
  return Array.from({ length: shape[0] ?? 0 }, (_, index) => nested(values.slice(index * step, (index + 1) * step), rest));
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** Year in two bytes, month, day; the month's highest bit says which of two equal hours is meant. */
function dateText(data: Buffer): string {
  return `${String(data.readUInt16BE(0)).padStart(4, '0')}-${two(data.readUInt8(2) & 0x7f)}-${two(data.readUInt8(3))}`;
}

function timeText(data: Buffer, at: number): string {
  const micro = data.readUIntBE(at + 3, 3);
  const time = `${two(data.readUInt8(at) & 0x7f)}:${two(data.readUInt8(at + 1))}:${two(data.readUInt8(at + 2))}`;
  return micro === 0 ? time : `${time}.${String(micro).padStart(6, '0')}`;
}

function offsetText(seconds: number): string {
  const size = Math.abs(seconds);
  return `${seconds < 0 ? '-' : '+'}${two(Math.floor(size / 3600))}:${two(Math.floor(size / 60) % 60)}`;
}
