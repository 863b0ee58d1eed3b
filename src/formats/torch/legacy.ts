/**
 * torch's container before 1.6 → header: five pickles (magic number, protocol, machine, object, storage keys), then for each key
 * the number of its elements in 8 bytes, and its bytes.
 *
 * Invariant: what the object's pickle says of its storages gives every offset, and they must fill the file to its last byte; a
 * storage's own count is compared before its bytes are believed (`checkCount`), at once where it was read anyway. So the header
 * of a hundred thousand storages takes as many reads as its pickles.
 */
import { CheckpointLoadError } from '../../errors.ts';
import { pin, type ByteSource } from '../../model/byte-source.ts';
import type { Header, Storage, Tensor } from '../../model/header.ts';
import type { GlobalUse, NodeId, ValueNode } from '../../model/value.ts';
import { PICKLE_LIMITS } from '../limits-pickle.ts';
import type { PickleHost } from '../pickle/host.ts';
import { readPickle } from '../pickle/read.ts';
import { pickleExtent } from './pickle-extent.ts';
import { findStateDict } from './state-dict.ts';
import { torchHost } from './tensors.ts';

const MAGIC_NUMBER = '119547037146038801333356';
const PROTOCOL_VERSION = 1001;
/** Bytes of a storage's count, which stands in front of its data. */
export const COUNT_SIZE = 8;
/** The first read; each further one makes the buffer this many times larger. */
const FIRST_READ = 64 * 1024;
const GROWTH = 4;

type NamedPickle = 'magic number' | 'protocol version' | 'system information' | 'object' | 'storage keys';

/** True for the first bytes of a legacy file, or of any other bare pickle of protocol 2 and later. */
export function isBarePickle(start: Uint8Array): boolean {
  return start[0] === 0x80 || Buffer.from(start).toString('latin1').startsWith(`L${MAGIC_NUMBER}L\n.`);
}

/** Reads a legacy file; throws `CheckpointLoadError` for malformed and `CheckpointValidationError` for unsafe content. */
export async function readLegacy(source: ByteSource, stateDictKey?: string): Promise<Header> {
  const { uri } = source;
  const bad = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(`${uri} is not a valid checkpoint of torch before 1.6: ${what}.`, uri);
  const globals: GlobalUse[] = [];
  const front = growing(source);
  let position = 0;
  const next = async (member: NamedPickle, host: Omit<PickleHost, 'globals'>): Promise<NodeId> => {
    const bytes = await front.pickle(position);
    const { root, consumed } = readPickle(bytes, { member, uri, start: position, more: true, host: { ...host, globals } });
    position += consumed;
    return root;
  };
  const value = async (member: NamedPickle): Promise<{ readonly node: ValueNode | undefined; readonly nodes: readonly ValueNode[] }> => {
    const nodes: ValueNode[] = [];
    const root = await next(member, { nodes });
    return { node: nodes[root], nodes };
  };

  const magic = (await value('magic number')).node;
  if (typeof magic !== 'object' || magic?.kind !== 'int' || magic.decimal !== MAGIC_NUMBER)
    throw new CheckpointLoadError(
      `${uri} is a bare pickle, no checkpoint of torch: its first value is not torch's magic number. Save it with torch.save.`,
      uri,
    );
  const version = (await value('protocol version')).node;
  if (version !== PROTOCOL_VERSION) throw bad(`its protocol version is ${shown(version)}, expected ${PROTOCOL_VERSION}`);
  // Storages are little-endian whatever the machine was: torch swaps them on the way.
  const system = (await value('system information')).node;
  if (typeof system !== 'object' || system?.kind !== 'dict') throw bad('its system information is not a dict');

  const nodes: ValueNode[] = [];
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const roots = new Map<string, { readonly id: number; readonly elements: number; readonly length: number }>();
  const views: { readonly id: number; readonly root: number; readonly offset: number }[] = [];
  const host = torchHost({
    nodes,
    storages,
    tensors,
    locate: (key, { elements, size }) => {
      roots.set(key, { id: storages.length, elements, length: elements * size });
      return { file: 0, location: { kind: 'range', offset: 0 }, length: elements * size };
    },
    view: (id, root, offset) => views.push({ id, root, offset }),
  });
  // A pickled whole module brings its source along: the class it names is what it stands for.
  const persistent = (id: NodeId, at: number): ValueNode => classOfModule(nodes, id) ?? host.persistent(id, at);
  const root = await next('object', { nodes, ...host, persistent });
  const keys = keysOf(await value('storage keys'), bad);

  let at = position;
  const starts = new Map<number, { readonly offset: number; readonly counted: { readonly at: number; readonly elements: number } }>();
  for (const key of keys) {
    const found = roots.get(key);
    if (found === undefined) throw bad(`it lists storage ${shown(key)}, which nothing in it uses`);
    if (starts.has(found.id)) throw bad(`it lists storage ${shown(key)} twice`);
    starts.set(found.id, { offset: at + COUNT_SIZE, counted: { at, elements: found.elements } });
    at += COUNT_SIZE + found.length;
  }
  for (const key of roots.keys())
    if (!starts.has(roots.get(key)?.id ?? -1)) throw bad(`its list of storages lacks ${shown(key)}, which it uses`);
  for (const { counted } of starts.values()) front.checkCount(counted.at, counted.elements);
  if (at !== source.size)
    throw bad(
      `its ${keys.length} storages end at ${at}, the file at ${source.size}: ${at > source.size ? 'it is truncated' : 'bytes follow its end'}`,
    );
  for (const [id, place] of starts) storages[id] = moved(storages[id], place.offset, place.counted);
  for (const { id, root: of, offset } of views) {
    const place = starts.get(of);
    if (place !== undefined) storages[id] = moved(storages[id], place.offset + offset, place.counted);
  }
  const tree = { root, nodes };
  return {
    ...findStateDict(tree, tensors, uri, globals, stateDictKey),
    container: 'legacy',
    files: [pin(source)],
    storages,
    tensors,
    tree,
    metadata: {},
    globals,
    findings: [],
  };
}

/** Compares the count in front of a storage with what its pickle says; throws `CheckpointLoadError`. */
export async function checkCount(source: ByteSource, at: number, elements: number): Promise<void> {
  compareCount(source.uri, await source.read(at, COUNT_SIZE), at, elements);
}

function compareCount(uri: string, bytes: Uint8Array, at: number, elements: number): void {
  const found = Buffer.from(bytes).readBigInt64LE(0);
  if (found === BigInt(elements)) return;
  throw new CheckpointLoadError(
    `${uri}: the storage at ${at} counts ${found} elements, its description ${elements}. The file is damaged: copy it again.`,
    uri,
    { details: { position: at } },
  );
}

/** The start of the file, fetched as far as pickles reach. */
function growing(source: ByteSource): {
  /** Bytes from 0 that hold the whole pickle at `start`, or as many as the file or the limit has. */
  readonly pickle: (start: number) => Promise<Uint8Array>;
  /** Checks a count that has been fetched already; else leaves it to the reader of the storage. */
  readonly checkCount: (at: number, elements: number) => void;
} {
  let bytes: Uint8Array = new Uint8Array(0);
  return {
    async pickle(start) {
      let at = start;
      for (;;) {
        const extent = pickleExtent(bytes, at);
        // One byte above the limit, so that the machine itself refuses a longer one.
        const most = Math.min(source.size, start + PICKLE_LIMITS.bytes + 1);
        if (extent.ended || bytes.length >= most || extent.needed > source.size) return extent.ended ? bytes.subarray(0, extent.at) : bytes;
        at = extent.at;
        const wanted = Math.min(most, Math.max(extent.needed, bytes.length * GROWTH, FIRST_READ));
        const more = await source.read(bytes.length, wanted - bytes.length);
        const joined = new Uint8Array(wanted);
        joined.set(bytes);
        joined.set(more, bytes.length);
        bytes = joined;
      }
    },
    checkCount(at, elements) {
      if (at + COUNT_SIZE <= bytes.length) compareCount(source.uri, bytes.subarray(at, at + COUNT_SIZE), at, elements);
    },
  };
}

function moved(storage: Storage | undefined, offset: number, counted: { readonly at: number; readonly elements: number }): Storage {
  if (storage === undefined) throw new RangeError('a storage without description');
  return { ...storage, location: { kind: 'range', offset, counted } };
}

function keysOf(
  { node, nodes }: { readonly node: ValueNode | undefined; readonly nodes: readonly ValueNode[] },
  bad: (what: string) => CheckpointLoadError,
): readonly string[] {
  if (typeof node !== 'object' || node?.kind !== 'list') throw bad('its list of storages is not a list');
  return node.items.map((id) => {
    const key = nodes[id];
    if (typeof key !== 'string') throw bad('a storage key is not text');
    return key;
  });
}

/** The class in `('module', class, source file, source)`. */
function classOfModule(nodes: readonly ValueNode[], id: NodeId): ValueNode | undefined {
  const tuple = nodes[id];
  if (typeof tuple !== 'object' || tuple?.kind !== 'tuple' || tuple.items.length !== 4) return undefined;
  const [tag, type] = tuple.items.map((item) => nodes[item]);
  return tag === 'module' && typeof type === 'object' && type?.kind === 'global' ? type : undefined;
}

function shown(value: unknown): string {
  return JSON.stringify(value ?? null).slice(0, 80);
}
