/**
 * A torch distributed checkpoint (`.metadata` and `*.distcp`) → one header: what `dcp_to_torch_save` would have written.
 *
 * Invariant: the index is believed only where it is checked: a value's archive is read here, a tensor's is looked into before
 * its bytes are. So a header takes the index and the values, which torch writes next to each other, whatever the size of the model.
 */
import { CheckpointLoadError, CheckpointNotFoundError, isCheckpointError } from '../../errors.ts';
import { pin, type ByteSource, type OpenSibling, type PinnedFile } from '../../model/byte-source.ts';
import { tensorBytes } from '../../model/dtype.ts';
import type { Finding, Header, Storage, StorageLocation, Tensor } from '../../model/header.ts';
import { graft } from '../../model/tree.ts';
import type { GlobalUse, NodeId, ValueNode } from '../../model/value.ts';
import { PICKLE_LIMITS, pickleMemory, PICKLES_MAX } from '../limits-pickle.ts';
import { weigh, WEIGHTS } from '../pickle/weight.ts';
import type { TorchObject } from '../torch/read-zip.ts';
import { findStateDict } from '../torch/state-dict.ts';
import { readArchived } from './archived.ts';
import { readMetadata, type Place, type TensorItem, type ValueItem } from './metadata.ts';
import { buildTree } from './tree.ts';

/** Files of one checkpoint: one or a few for each rank. */
const FILES_MAX = 10_000;
/** Bytes of one value: a tensor-free object. */
const VALUE_MAX = 64 * 2 ** 20;
/** Bytes of all values: each is read and unpickled. A rank's state beside its tensors has some kilobytes. */
const VALUES_MAX = 2 ** 30;
/** Bytes of one read of neighbouring values, and of the gaps that are read along. */
const SPAN = 4 * 2 ** 20;
const GAP = 64 * 1024;
/** What Lightning and Fabric keep beside weights and optimizers: epoch, loops, hyper-parameters. */
export const EXTRA = 'meta.pt';

/** True for a URI that ends in the name of a distributed checkpoint's index. */
export function isDistributedIndex(uri: string): boolean {
  return /(^|\/)\.metadata$/.test(uri);
}

/** Reads the index and the values of a distributed checkpoint; throws typed errors as the other readers do. */
export async function readDistributed(source: ByteSource, openSibling: OpenSibling, stateDictKey?: string): Promise<Header> {
  const { uri } = source;
  const bad = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(`${uri} is not a valid torch distributed checkpoint: ${what}.`, uri);
  if (source.size > PICKLE_LIMITS.bytes) throw bad(`its index has ${source.size} bytes, at most ${PICKLE_LIMITS.bytes} are read`);
  const { items, paths, globals: indexGlobals } = readMetadata(await source.read(0, source.size), uri);
  const byFile = new Map<string, { readonly values: ValueItem[]; readonly places: Place[] }>();
  const noted = (place: Place): { readonly values: ValueItem[]; readonly places: Place[] } => {
    const held = byFile.get(place.file) ?? { values: [], places: [] };
    byFile.set(place.file, held);
    held.places.push(place);
    return held;
  };
  for (const item of items)
    if (item.kind === 'value') noted(item).values.push(item);
    else item.chunks.forEach(noted);
  if (byFile.size > FILES_MAX) throw bad(`it lies in ${byFile.size} files, at most ${FILES_MAX} are read`);
  for (const [name, { places }] of byFile) checkOverlap(name, places, bad);
  const stored = items.reduce((sum, item) => sum + (item.kind === 'value' ? item.stored : 0), 0);
  if (stored > VALUES_MAX) throw bad(`its values have ${stored} bytes, at most ${VALUES_MAX} are read`);
  const spend = budget(stored, bad);
  let inflated = 0;
  /** The values are as many pickles of one archive would be: together, they inflate no further. */
  const inflating = (held: ByteSource): ByteSource => ({
    ...held,
    async inflates(length) {
      inflated += length;
      if (inflated > PICKLES_MAX) throw bad(`its values inflate to more than ${PICKLES_MAX} bytes together`);
      await held.inflates?.(length);
    },
  });

  const files: PinnedFile[] = [];
  const nodes: ValueNode[] = [];
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const globals: GlobalUse[] = [...indexGlobals];
  const leaves = new Map<string, NodeId>();
  const index = new Map<string, number>();
  /** Adds what an archive holds to the header's tables; gives its root. */
  const take = (object: TorchObject, where: string): NodeId => {
    const base = { storages: storages.length, tensors: tensors.length };
    for (const each of object.storages) storages.push(each);
    for (const each of object.tensors) tensors.push({ ...each, storage: each.storage === -1 ? -1 : each.storage + base.storages });
    for (const each of object.globals) globals.push({ ...each, member: `${where}/${each.member}` });
    return graft(nodes, object.tree, base);
  };
  for (const [name, { values, places }] of byFile) {
    const file = await openSibling(name).catch((cause: unknown) => {
      if (!isCheckpointError(cause) || cause.code !== 'CheckpointNotFoundError') throw cause;
      throw new CheckpointNotFoundError(`${uri} names the file ${name}, which is not beside it. Copy the whole folder.`, name, { cause });
    });
    try {
      const at = files.push(pin(file)) - 1;
      index.set(name, at);
      for (const { offset, stored } of places)
        if (offset + stored > file.size)
          throw bad(`${name} should hold ${stored} bytes at ${offset}, but ends at ${file.size}: it is truncated`);
      for await (const { value, held } of neighbours(file, values, bad)) {
        const object = await readArchived(inflating(held), value, at);
        spend(object);
        leaves.set(value.name, take(object, `${name}/${value.name}`));
      }
    } finally {
      await file.close();
    }
  }
  for (const item of items) {
    if (item.kind === 'value') continue;
    const tensor = tensors.push(tensorOf(item, storages, index)) - 1;
    leaves.set(item.name, nodes.push({ kind: 'tensor', tensor }) - 1);
  }
  const saved = buildTree(
    nodes,
    items.map(({ name }) => ({ path: paths.get(name) ?? [name], leaf: leaves.get(name) ?? -1 })),
    bad,
  );
  let extras: Entries = [];
  const findings: Finding[] = [];
  const extra = await openExtra(openSibling, findings);
  if (extra !== undefined) {
    try {
      const at = files.push(pin(extra)) - 1;
      extras = entriesOf(nodes, take(await readArchived(extra, { offset: 0, stored: extra.size }, at), EXTRA));
    } finally {
      await extra.close();
    }
  }
  const tree = { root: withExtras(nodes, saved, extras), nodes };
  return {
    ...findStateDict(tree, tensors, uri, globals, stateDictKey),
    container: 'distributed',
    files,
    storages,
    tensors,
    tree,
    metadata: {},
    globals,
    findings,
  };
}

/** Every item has its own bytes, as every member of an archive has: else a small folder would describe what is as large as it says. */
function checkOverlap(file: string, places: readonly Place[], bad: (what: string) => CheckpointLoadError): void {
  let end = 0;
  for (const { offset, stored } of places.toSorted((a, b) => a.offset - b.offset || a.stored - b.stored)) {
    if (offset < end) throw bad(`two of its items overlap in ${file}: one begins at ${offset}, where another ends at ${end}`);
    end = offset + stored;
  }
}

/**
 * Takes what each value keeps of memory from what all may take: as much as one pickle of their bytes. An archive's own limit holds
 * for it alone, and its pickle may be deflated.
 */
function budget(stored: number, bad: (what: string) => CheckpointLoadError): (object: TorchObject) => void {
  const memory = pickleMemory(stored, PICKLE_LIMITS);
  let spent = 0;
  return ({ tree, storages, tensors, globals }) => {
    spent += (2 * storages.length + 2 * tensors.length + globals.length) * WEIGHTS.object;
    for (const node of tree.nodes) {
      spent += weigh(node);
      // What was appended to an object, or set on it.
      if (typeof node === 'object' && node?.kind === 'object')
        spent += (node.items?.length ?? 0) * WEIGHTS.slot + (node.entries?.length ?? 0) * WEIGHTS.entry;
    }
    if (spent > memory) throw bad(`its values would take more than ${memory} bytes of memory together`);
  };
}

/** The file that Lightning and Fabric write beside a distributed checkpoint, if there is one. */
async function openExtra(openSibling: OpenSibling, findings: Finding[]): Promise<ByteSource | undefined> {
  return openSibling(EXTRA).catch((error: unknown) => {
    if (!isCheckpointError(error) || error.retryable) throw error;
    if (error.code === 'CheckpointNotFoundError') return undefined;
    // A store may say "forbidden" of what is not there, where listing is not allowed.
    if (error.code !== 'CheckpointSourceError') throw error;
    findings.push({ code: 'no_extra_file', message: `${EXTRA} was left out, it cannot be opened: ${error.message}` });
    return undefined;
  });
}

type Entries = readonly (readonly [NodeId, NodeId])[];

function entriesOf(nodes: readonly ValueNode[], id: NodeId): Entries {
  const node = nodes[id];
  return typeof node === 'object' && node?.kind === 'dict' ? node.entries : [];
}

/**
 * The saved object with Lightning's entries over its own. Where they are those of a Trainer, `model` becomes `state_dict` and
 * `optimizer_0`, `optimizer_1` … the list `optimizer_states`, as Lightning's own tool makes one file of the folder.
 */
function withExtras(nodes: ValueNode[], root: NodeId, extras: Entries): NodeId {
  if (extras.length === 0) return root;
  const named = new Map<string, NodeId>();
  for (const [key, value] of [...entriesOf(nodes, root), ...extras]) {
    const name = nodes[key];
    if (typeof name === 'string') named.set(name, value);
  }
  const model = named.get('model');
  if (named.has('pytorch-lightning_version') && model !== undefined) {
    named.delete('model');
    named.set('state_dict', model);
    const optimizers: NodeId[] = [];
    for (let value = named.get('optimizer_0'); value !== undefined; value = named.get(`optimizer_${optimizers.length}`)) {
      named.delete(`optimizer_${optimizers.length}`);
      optimizers.push(value);
    }
    if (optimizers.length > 0) named.set('optimizer_states', nodes.push({ kind: 'list', items: optimizers }) - 1);
  }
  const entries = [...named].map(([name, value]) => [nodes.push(name) - 1, value] as const);
  return nodes.push({ kind: 'dict', entries }) - 1;
}

/** A tensor over its chunks: the one that is all of it, or blocks. */
function tensorOf(item: TensorItem, storages: Storage[], index: ReadonlyMap<string, number>): Tensor {
  const { dtype, shape, chunks, unsupported } = item;
  if (unsupported !== undefined) return { dtype, shape, storage: -1, offset: 0, unsupported };
  const blocks = chunks.map(({ file, offset, stored, start, shape: extent }) => ({
    file: index.get(file) ?? 0,
    offset,
    stored,
    start,
    shape: extent,
  }));
  const [first] = blocks;
  const location: StorageLocation =
    first !== undefined && blocks.length === 1
      ? { kind: 'archive', dtype, shape, offset: first.offset, stored: first.stored }
      : { kind: 'blocks', dtype, shape, blocks };
  const storage = storages.push({ file: first?.file ?? 0, location, length: tensorBytes(dtype, shape) }) - 1;
  return { dtype, shape, storage, offset: 0 };
}

/** Values with a source that has their bytes in memory, neighbours from one read. */
async function* neighbours(
  file: ByteSource,
  values: readonly ValueItem[],
  bad: (what: string) => CheckpointLoadError,
): AsyncGenerator<{ readonly value: ValueItem; readonly held: ByteSource }> {
  const sorted = values.toSorted((a, b) => a.offset - b.offset);
  let span: { readonly offset: number; readonly bytes: Uint8Array } | undefined;
  for (const [position, value] of sorted.entries()) {
    const end = value.offset + value.stored;
    if (value.stored > VALUE_MAX)
      throw bad(`the value ${JSON.stringify(value.name)} has ${value.stored} bytes, at most ${VALUE_MAX} are read`);
    if (span === undefined || value.offset < span.offset || end > span.offset + span.bytes.length) {
      let last = end;
      for (let next = position + 1; next < sorted.length; next++) {
        const each = sorted[next]!;
        const reach = each.offset + each.stored;
        if (each.offset > last + GAP || reach - value.offset > SPAN) break;
        last = Math.max(last, reach);
      }
      span = { offset: value.offset, bytes: await file.read(value.offset, last - value.offset) };
    }
    const { offset, bytes } = span;
    const read = async (at: number, length: number): Promise<Uint8Array> => bytes.slice(at - offset, at - offset + length);
    yield { value, held: { ...file, read } };
  }
}
