/**
 * The index of a torch distributed checkpoint (`.metadata`, a pickle of data classes) → plain entries.
 *
 * Invariant: every tensor's chunks are boxes inside it that fill it exactly, and every entry has a place whose file is a plain
 * name; whatever does not fit is refused here. The classes are matched by name as data; nothing of torch is needed.
 */
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import { isDtype, type Dtype } from '../../model/dtype.ts';
import type { GlobalUse, NodeId, ValueNode } from '../../model/value.ts';
import { MAX_DIMENSIONS, MAX_TENSOR_BYTES } from '../limits-pickle.ts';
import { TORCH_DTYPES } from '../pickle/globals.ts';
import { readPickle } from '../pickle/read.ts';
import { gapFinder } from './tiling.ts';

/** Where an item lies: an archive of `torch.save` inside a file of the folder. */
export interface Place {
  readonly file: string;
  readonly offset: number;
  readonly stored: number;
}

export interface Chunk extends Place {
  readonly start: readonly number[];
  readonly shape: readonly number[];
}

export interface TensorItem {
  readonly kind: 'tensor';
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly chunks: readonly Chunk[];
  /** Why it has no plain form. */
  readonly unsupported?: string;
}

export interface ValueItem extends Place {
  readonly kind: 'value';
  readonly name: string;
}

export type Step = string | number;

export interface DistributedMetadata {
  /** In the order of the file. */
  readonly items: readonly (TensorItem | ValueItem)[];
  /** Where an item stood in the saved object; absent for those that stood at its root under their own name. */
  readonly paths: ReadonlyMap<string, readonly Step[]>;
  readonly globals: readonly GlobalUse[];
}

/** Steps of one path. */
const STEPS_MAX = 200;

/** Throws `CheckpointLoadError` for malformed and `CheckpointValidationError` for unsafe content. */
export function readMetadata(bytes: Uint8Array, uri: string): DistributedMetadata {
  const nodes: ValueNode[] = [];
  const globals: GlobalUse[] = [];
  const { root } = readPickle(bytes, { member: '.metadata', uri, host: { nodes, globals } });
  const bad = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(`${uri} is not a valid index of a torch distributed checkpoint: ${what}.`, uri);
  const look = lookup(nodes, bad);

  const fields = look.fields(root, 'Metadata', 'its root');
  const places = placesOf(look, fields.get('storage_data'), bad);
  const findGap = gapFinder();
  const items: (TensorItem | ValueItem)[] = [];
  for (const [key, value] of look.entries(fields.get('state_dict_metadata'), 'state_dict_metadata')) {
    const name = look.text(key, 'a name of state_dict_metadata');
    if (look.classOf(value) === 'BytesStorageMetadata') {
      const place = places.get(placeKey(name));
      if (place === undefined) throw bad(`${JSON.stringify(name)} has no place in storage_data`);
      items.push({ kind: 'value', name, ...place });
    } else items.push(tensorItem(look, name, value, { places, findGap, bad }));
  }
  return { items, paths: pathsOf(look, fields.get('planner_data'), bad), globals };
}

type Bad = (what: string) => CheckpointLoadError;
type Look = ReturnType<typeof lookup>;

interface OfAll {
  readonly places: ReadonlyMap<string, Place>;
  readonly findGap: ReturnType<typeof gapFinder>;
  readonly bad: Bad;
}

function tensorItem(look: Look, name: string, id: NodeId, { places, findGap, bad }: OfAll): TensorItem {
  const shown = JSON.stringify(name);
  const fields = look.fields(id, 'TensorStorageMetadata', shown);
  const shape = look.sizes(fields.get('size'), `the size of ${shown}`);
  const [dtypeId, layoutId] = look.items(look.stateOf(fields.get('properties'), 'TensorProperties', shown), `the properties of ${shown}`);
  const dtype = TORCH_DTYPES[String(look.plain(dtypeId, 'torch.dtype') ?? '')];
  if (dtype === undefined) throw bad(`the dtype of ${shown} is none of torch`);
  const layout = look.plain(layoutId, 'torch.layout');
  if (layout !== undefined && layout !== 'torch.strided')
    return { kind: 'tensor', name, dtype: 'U8', shape, chunks: [], unsupported: String(layout).replace('torch.', '').slice(0, 40) };
  if (!isDtype(dtype)) return { kind: 'tensor', name, dtype: 'U8', shape, chunks: [], unsupported: 'quantized' };
  if (shape.reduce((product, each) => product * BigInt(each), 16n) > BigInt(MAX_TENSOR_BYTES)) throw bad(`${shown} is too large`);
  const chunks = look.items(fields.get('chunks'), `the chunks of ${shown}`).map((each): Chunk => {
    const chunk = look.fields(each, 'ChunkStorageMetadata', `a chunk of ${shown}`);
    const start = look.sizes(chunk.get('offsets'), `the offsets of a chunk of ${shown}`);
    const place = places.get(placeKey(name, start));
    if (place === undefined) throw bad(`the chunk of ${shown} at [${start.join(', ')}] has no place in storage_data`);
    return { start, shape: look.sizes(chunk.get('sizes'), `the sizes of a chunk of ${shown}`), ...place };
  });
  const gap = findGap(shape, chunks);
  if (gap !== undefined) throw bad(`the chunks of ${shown} do not fill its [${shape.join(', ')}]: ${gap}`);
  return { kind: 'tensor', name, dtype, shape, chunks };
}

/** `storage_data` by name and, for chunks, offsets. */
function placesOf(look: Look, id: NodeId | undefined, bad: Bad): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  for (const [key, value] of look.entries(id, 'storage_data')) {
    const index = look.fields(key, 'MetadataIndex', 'a key of storage_data');
    const name = look.text(index.get('fqn'), 'fqn in storage_data');
    const offset = index.get('offset');
    const start = offset === undefined || look.isNone(offset) ? undefined : look.sizes(offset, `an offset of ${JSON.stringify(name)}`);
    const info = look.fields(value, '_StorageInfo', `the place of ${JSON.stringify(name)}`);
    const file = look.text(info.get('relative_path'), 'relative_path in storage_data');
    const transforms = info.get('transform_descriptors');
    if (transforms !== undefined && !look.isNone(transforms) && look.items(transforms, 'transform_descriptors').length > 0)
      throw bad(`${JSON.stringify(name)} was written through a transform (compression or encryption); save it without`);
    // oxlint-disable-next-line no-control-regex -- control characters are what is refused
    if (file === '' || /[/\\:\u0000-\u001f\u007f]|^\.{1,2}$/.test(file))
      throw new CheckpointValidationError(
        `${JSON.stringify(name)} should lie in ${JSON.stringify(file.slice(0, 200))}, expected the plain name of a file in the checkpoint's folder.`,
        [`file name ${JSON.stringify(file.slice(0, 200))}`],
      );
    const place = { file, offset: look.count(info.get('offset'), 'an offset'), stored: look.count(info.get('length'), 'a length') };
    const at = placeKey(name, start);
    if (places.has(at)) throw bad(`storage_data has two places for ${JSON.stringify(name)}`);
    places.set(at, place);
  }
  return places;
}

function placeKey(name: string, start?: readonly number[]): string {
  return `${start === undefined ? '' : start.join(',')}|${start === undefined ? 'value' : 'chunk'}|${name}`;
}

/** `planner_data`: for names that were flattened, the keys and list positions that led to them. */
function pathsOf(look: Look, id: NodeId | undefined, bad: Bad): ReadonlyMap<string, readonly Step[]> {
  const paths = new Map<string, readonly Step[]>();
  if (id === undefined || look.isNone(id)) return paths;
  for (const [key, value] of look.entries(id, 'planner_data')) {
    const name = look.text(key, 'a name of planner_data');
    const steps = look
      .items(value, `the path of ${JSON.stringify(name)}`)
      .map((each) => look.step(each, `the path of ${JSON.stringify(name)}`));
    if (steps.length === 0 || steps.length > STEPS_MAX || typeof steps[0] !== 'string')
      throw bad(`the path of ${JSON.stringify(name)} has ${steps.length} steps, expected 1 to ${STEPS_MAX} from a name on`);
    paths.set(name, steps);
  }
  return paths;
}

/** Typed looks into the pickle's nodes. */
function lookup(nodes: readonly ValueNode[], bad: Bad) {
  const at = (id: NodeId | undefined): Exclude<ValueNode, null | boolean | number | string> | undefined => {
    const node = id === undefined ? undefined : nodes[id];
    return typeof node === 'object' && node !== null ? node : undefined;
  };
  const self = {
    isNone: (id: NodeId): boolean => nodes[id] === null,
    classOf(id: NodeId | undefined): string | undefined {
      const node = at(id);
      return node?.kind === 'object' ? node.name : undefined;
    },
    stateOf(id: NodeId | undefined, name: string, what: string): NodeId {
      const node = at(id);
      if (node?.kind !== 'object' || node.name !== name || !node.module.startsWith('torch.distributed.') || node.state === undefined)
        throw bad(`${what} is not a ${name}`);
      return node.state;
    },
    fields(id: NodeId | undefined, name: string, what: string): ReadonlyMap<string, NodeId> {
      const entries = self.entries(self.stateOf(id, name, what), `the fields of ${what}`);
      return new Map(entries.map(([key, value]) => [self.text(key, `a field of ${what}`), value]));
    },
    entries(id: NodeId | undefined, what: string): readonly (readonly [NodeId, NodeId])[] {
      const node = at(id);
      if (node?.kind !== 'dict') throw bad(`${what} is not a dict`);
      return node.entries;
    },
    items(id: NodeId | undefined, what: string): readonly NodeId[] {
      const node = at(id);
      if (node?.kind !== 'list' && node?.kind !== 'tuple') throw bad(`${what} is not a list`);
      return node.items;
    },
    /** The first argument of a plain value of that class. */
    plain(id: NodeId | undefined, name: string): ValueNode | undefined {
      const node = at(id);
      if (node?.kind !== 'plain' || node.class !== name) return undefined;
      const value = at(node.value);
      return value?.kind === 'tuple' ? nodes[value.items[0] ?? -1] : nodes[node.value];
    },
    sizes(id: NodeId | undefined, what: string): readonly number[] {
      const node = at(id);
      const held = node?.kind === 'plain' && node.class === 'torch.Size' ? at(node.value) : undefined;
      const list = held?.kind === 'tuple' ? held.items[0] : id;
      const sizes = held?.kind === 'tuple' && list === undefined ? [] : self.items(list, what).map((each) => self.count(each, what));
      if (sizes.length > MAX_DIMENSIONS) throw bad(`${what} has ${sizes.length} dimensions, at most ${MAX_DIMENSIONS} are read`);
      return sizes;
    },
    text(id: NodeId | undefined, what: string): string {
      const value = id === undefined ? undefined : nodes[id];
      if (typeof value !== 'string') throw bad(`${what} is not text`);
      return value;
    },
    count(id: NodeId | undefined, what: string): number {
      const value = id === undefined ? undefined : nodes[id];
      if (typeof value !== 'number' || value < 0) throw bad(`${what} is not a whole number from 0 on`);
      return value;
    },
    step(id: NodeId, what: string): Step {
      const value = nodes[id];
      if (typeof value !== 'string' && (typeof value !== 'number' || value < 0))
        throw bad(`${what} has a step that is not a key or position`);
      return value;
    },
  };
  return self;
}
