/**
 * Which values have a form that torch's `weights_only` unpickler takes: containers and numbers of other libraries as plain ones, small values of
 * torch's own as torch writes them. Nothing is written here.
 */
import { DTYPES } from '../../model/dtype.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { floatNode } from './float-node.ts';
import { encodeLong } from './integers.ts';

/** LONG1 counts its bytes in one byte. */
export const LONG_MAX = 255;
const TORCH_NAMES = new Set(Object.values(DTYPES).flatMap(({ torch }) => (torch === null ? [] : [torch])));
/** Dtypes without bytes that we read, yet names that `weights_only` accepts. */
const QUANTIZED = new Set(['qint8', 'quint8', 'qint32', 'quint4x2', 'quint2x4']);
const LAYOUTS = new Set([
  'torch.strided',
  'torch.sparse_coo',
  'torch.sparse_csr',
  'torch.sparse_csc',
  'torch.sparse_bsr',
  'torch.sparse_bsc',
]);

type Plain =
  | { readonly kind: 'list'; readonly items: readonly NodeId[] }
  | { readonly kind: 'dict'; readonly entries: readonly (readonly [NodeId, NodeId])[] };

/** The plain form of an object of a class that is nothing but a container. */
export function asPlain(nodes: readonly ValueNode[], node: Extract<ValueNode, { kind: 'object' }>): Plain | undefined {
  switch (`${node.module}.${node.name}`) {
    case 'argparse.Namespace':
    case 'types.SimpleNamespace': {
      const state = node.state === undefined ? undefined : nodes[node.state];
      return typeof state === 'object' && state !== null && state.kind === 'dict' ? { kind: 'dict', entries: state.entries } : undefined;
    }
    case 'collections.deque':
      return node.items === undefined ? undefined : { kind: 'list', items: node.items };
    case 'lightning_fabric.utilities.data.AttributeDict':
    case 'lightning.fabric.utilities.data.AttributeDict':
    case 'pytorch_lightning.utilities.parsing.AttributeDict':
    case 'lightning.pytorch.utilities.parsing.AttributeDict':
      return { kind: 'dict', entries: node.entries ?? [] };
    default:
      return undefined;
  }
}

/** How an interpolation of OmegaConf begins. */
export const INTERPOLATION = '${';
/** OmegaConf's mark of a value that is still missing. */
export const MISSING = '???';
const OMEGACONF = /^omegaconf\.(dictconfig|listconfig|nodes)$/;
/** OmegaConf's nodes hold values, its containers nodes: never one container as another's content. */
const CONTENT_STEPS = 4;

/** The value that OmegaConf's containers and nodes wrap; any other value is its own. */
export function contentOf(nodes: readonly ValueNode[], given: NodeId): NodeId {
  let id = given;
  for (let step = 0; step < CONTENT_STEPS; step++) {
    const node = nodes[id];
    if (typeof node !== 'object' || node === null || node.kind !== 'object' || !OMEGACONF.test(node.module)) return id;
    const content = stateEntry(nodes, node, node.module === 'omegaconf.nodes' ? '_val' : '_content');
    if (content === undefined) return id;
    id = content;
  }
  return id;
}

/** A configuration of its own, not a part of another: the one that is worth a word. */
export function isRootConfig(nodes: readonly ValueNode[], id: NodeId): boolean {
  const node = nodes[id];
  if (typeof node !== 'object' || node === null || node.kind !== 'object') return false;
  const parent = stateEntry(nodes, node, '_parent');
  return parent === undefined || nodes[parent] === null;
}

function stateEntry(nodes: readonly ValueNode[], { state }: Extract<ValueNode, { kind: 'object' }>, key: string): NodeId | undefined {
  const held = state === undefined ? undefined : nodes[state];
  if (typeof held !== 'object' || held === null || held.kind !== 'dict') return undefined;
  return held.entries.find(([each]) => nodes[each] === key)?.[1];
}

/** `scalar(dtype('<f8'), bytes)`: a number with a type of numpy's, which `weights_only` does not take. */
export function numpyScalar(nodes: readonly ValueNode[], node: Extract<ValueNode, { kind: 'object' }>): ValueNode | undefined {
  if (node.name !== 'scalar' || !/^numpy\.(_core|core)\.multiarray$/.test(node.module)) return undefined;
  const [kind, data] = itemsOf(nodes, node.args).map((id) => nodes[id]);
  if (typeof kind !== 'object' || kind === null || kind.kind !== 'object' || kind.module !== 'numpy' || kind.name !== 'dtype')
    return undefined;
  if (typeof data !== 'object' || data === null || data.kind !== 'bytes') return undefined;
  const code = nodes[itemsOf(nodes, kind.args)[0] ?? -1];
  const order = nodes[itemsOf(nodes, kind.state)[1] ?? -1];
  if (typeof code !== 'string' || (order !== '<' && order !== '|')) return undefined;
  const bytes = Buffer.from(data.base64, 'base64');
  if (bytes.length !== Number(code.slice(1))) return undefined;
  switch (code) {
    case 'f8':
      return floatNode(bytes.readDoubleLE(0));
    case 'f4':
      return floatNode(bytes.readFloatLE(0));
    case 'b1':
      return bytes[0] !== 0;
    case 'i1':
    case 'i2':
    case 'i4':
      return bytes.readIntLE(0, bytes.length);
    case 'u1':
    case 'u2':
    case 'u4':
      return bytes.readUIntLE(0, bytes.length);
    case 'i8':
      return { kind: 'int', decimal: bytes.readBigInt64LE(0).toString() };
    case 'u8':
      return { kind: 'int', decimal: bytes.readBigUInt64LE(0).toString() };
    default:
      return undefined;
  }
}

function itemsOf(nodes: readonly ValueNode[], id: NodeId | undefined): readonly NodeId[] {
  const node = id === undefined ? undefined : nodes[id];
  return typeof node === 'object' && node !== null && node.kind === 'tuple' ? node.items : [];
}

/** The text of a path: what replaces it. */
export function plainText(nodes: readonly ValueNode[], node: Extract<ValueNode, { kind: 'plain' }>): string | undefined {
  if (!node.class.startsWith('pathlib')) return undefined;
  const value = nodes[node.value];
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null || value.kind !== 'tuple') return undefined;
  const parts = value.items.map((item) => nodes[item]);
  if (!parts.every((part) => typeof part === 'string')) return undefined;
  const windows = node.class.includes('Windows');
  const [first = '.', ...rest] = parts as readonly string[]; // Checked in the line above.
  if (rest.length === 0) return first;
  const separator = windows ? '\\' : '/';
  return `${first}${first.endsWith(separator) ? '' : separator}${rest.join(separator)}`;
}

/** torch's own small values, where their arguments are as torch itself writes them. */
export function isTorchPlain(nodes: readonly ValueNode[], node: Extract<ValueNode, { kind: 'plain' }>): boolean {
  const value = nodes[node.value];
  if (node.class === 'torch.dtype') return typeof value === 'string' && (TORCH_NAMES.has(value as never) || QUANTIZED.has(value));
  if (typeof value !== 'object' || value === null || value.kind !== 'tuple') return false;
  const args = value.items.map((item) => nodes[item]);
  switch (node.class) {
    case 'torch.layout':
      return args.length === 1 && typeof args[0] === 'string' && LAYOUTS.has(args[0]);
    case 'torch.device':
      return typeof args[0] === 'string' && (args.length === 1 || (args.length === 2 && typeof args[1] === 'number'));
    case 'torch.Size': {
      const sizes = args[0];
      return (
        args.length === 1 &&
        typeof sizes === 'object' &&
        sizes !== null &&
        (sizes.kind === 'tuple' || sizes.kind === 'list') &&
        sizes.items.every((item) => typeof nodes[item] === 'number')
      );
    }
    default:
      return false;
  }
}

/** Whether a value may be a dict's key or a set's item in the file: hashable, and with a form of its own all the way down. */
export function isPlainKey(nodes: readonly ValueNode[], root: NodeId): boolean {
  const pending = [root];
  const seen = new Set<NodeId>();
  for (let given = pending.pop(); given !== undefined; given = pending.pop()) {
    const id = contentOf(nodes, given);
    const node = nodes[id];
    if (typeof node !== 'object' || node === null) continue;
    switch (node.kind) {
      case 'tuple':
      case 'frozenset':
        if (seen.has(id)) break;
        seen.add(id);
        for (const item of node.items) pending.push(item);
        break;
      case 'int':
        if (encodeLong(BigInt(node.decimal)).length > LONG_MAX) return false;
        break;
      case 'float':
      case 'bytes':
        break;
      case 'plain':
        if (plainText(nodes, node) === undefined && !isTorchPlain(nodes, node)) return false;
        break;
      default:
        return false;
    }
  }
  return true;
}
