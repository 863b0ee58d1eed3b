/**
 * The files of all ranks, as torch's `HuggingFaceStorageWriter(save_distributed=True)` writes them into a folder → one header.
 *
 * Invariant: as torch's `HuggingFaceStorageReader` reads them: a tensor reaches as far as its farthest slice; unlike it, slices that
 * leave a gap or overlap are refused. A last rank's file that is lost leaves none, and nothing in the others tells of it: so the
 * header says how many files it is of.
 */
import { CheckpointConfigError, CheckpointLoadError } from '../../errors.ts';
import { folderOf, type ByteSource, type OpenSibling, type PinnedFile } from '../../model/byte-source.ts';
import { namesOfRank, partOfRankShard, type RankPart } from '../../model/checkpoint-names.ts';
import { DTYPES, tensorBytes, type Dtype } from '../../model/dtype.ts';
import {
  NO_TRAINING,
  RANKS_UNKNOWN,
  type Block,
  type Header,
  type Storage,
  type StorageLocation,
  type Tensor,
  type Weight,
} from '../../model/header.ts';
import { formatCount } from '../../model/text.ts';
import { gapFinder } from '../distributed/tiling.ts';
import { MAX_TENSOR_BYTES } from '../limits-pickle.ts';
import { HEADER_MAX } from '../safetensors/layout.ts';
import { SIZES_MAX, TENSORS_MAX, readSafetensors } from '../safetensors/read.ts';
import { sliceStarts, withoutSlices } from '../safetensors/slices.ts';

/** Files of one set: one or a few for each rank. */
const FILES_MAX = 10_000;
/** Ranks without a file that are named. */
const LISTED = 5;
/** Files whose headers are read at once: hides latency, keeps memory at a few headers. */
const AT_ONCE = 4;

interface Sliced {
  readonly dtype: Dtype;
  readonly slices: Block[];
}

/** Reads the files `names`, which lie beside `source`. */
export async function readRankSet(source: ByteSource, names: readonly string[], openSibling: OpenSibling): Promise<Header> {
  const folder = folderOf(source.uri);
  const bad = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(`${folder} holds no whole set of the files that ranks write: ${what}.`, folder);
  if (names.length > FILES_MAX) throw bad(`it has ${names.length} files, at most ${FILES_MAX} are read`);
  const parts = names.map(partOfRankShard).filter((part): part is RankPart => part !== undefined);
  checkParts(parts, folder, bad);
  const files: PinnedFile[] = [];
  const tensors = new Map<string, Sliced>();
  const metadata = new Map<string, string>();
  const findGap = gapFinder();
  let held = 0;
  let sizes = 0;
  let metadataLength = 0;

  for (let at = 0; at < names.length; at += AT_ONCE) {
    const batch = names.slice(at, at + AT_ONCE);
    const read = await Promise.allSettled(batch.map((name) => headerOf(name)));
    read.forEach((result, index) => {
      if (result.status === 'rejected') throw result.reason;
      add(batch[index]!, result.value);
    });
  }
  return header();

  async function headerOf(name: string): Promise<Header> {
    const file = await openSibling(name);
    try {
      return await readSafetensors(file);
    } finally {
      await file.close();
    }
  }

  function add(name: string, shard: Header): void {
    const { weights, tensors: table, storages } = shard;
    const starts = sliceStarts(shard, folder + name);
    if (starts === undefined) throw bad(`${name} does not say where its slices begin, as files of torch's distributed writer do`);
    if ((held += weights.length) > TENSORS_MAX) throw bad(`its files hold more than ${TENSORS_MAX} slices together, with ${name}`);
    const file = files.length;
    files.push(...shard.files);
    for (const { name: weight, tensor } of weights) {
      const { dtype, shape, storage } = table[tensor]!;
      const { location, length } = storages[storage]!;
      if ((sizes += shape.length) > SIZES_MAX)
        throw bad(`its slices have more than ${SIZES_MAX} sizes in their shapes together, with ${name}`);
      const start = starts.get(weight);
      // So says the reader of safetensors.
      if (location.kind !== 'range' || start === undefined) throw new RangeError(`a slice of ${weight} without a place`);
      const sliced = tensors.get(weight) ?? { dtype, slices: [] };
      tensors.set(weight, sliced);
      const rank = sliced.slices[0]?.shape.length ?? shape.length;
      if (sliced.dtype !== dtype || rank !== shape.length)
        throw bad(
          `the slice of ${JSON.stringify(weight)} in ${name} is ${dtype} of ${shape.length} axes, another one ${sliced.dtype} of ${rank}`,
        );
      sliced.slices.push({ file, offset: location.offset, stored: length, start, shape, isPlain: true });
    }
    // The first file's word counts, as all are written by one call.
    for (const [key, value] of Object.entries(withoutSlices(shard.metadata))) {
      if (metadata.has(key)) continue;
      if ((metadataLength += key.length + value.length) > HEADER_MAX)
        throw bad(`the metadata of its files has more than ${HEADER_MAX} characters together, with ${name}`);
      metadata.set(key, value);
    }
  }

  function header(): Header {
    const storages: Storage[] = [];
    const whole: Tensor[] = [];
    const weights: Weight[] = [];
    for (const [name, sliced] of tensors) {
      weights.push({ name, tensor: whole.length });
      whole.push(wholeOf(name, sliced, { storages, findGap, bad }));
    }
    return {
      format: 'safetensors',
      container: 'sharded',
      files,
      storages,
      tensors: whole,
      weights,
      nonTensors: [],
      stateDictKey: null,
      training: NO_TRAINING,
      metadata: Object.fromEntries(metadata),
      globals: [],
      findings: [
        {
          code: RANKS_UNKNOWN,
          message: `read from ${formatCount(names.length, 'file')}, ${names[0]} to ${names.at(-1)}${holesIn(parts)}; they do not say how many ranks wrote them: where the last are missing, so are rows of the tensors`,
        },
      ],
    };
  }
}

/** One model, all of its parts. */
function checkParts(parts: readonly RankPart[], folder: string, bad: (what: string) => CheckpointLoadError): void {
  const totals = [...new Set(parts.map(({ of }) => of))];
  if (totals.length > 1)
    throw new CheckpointConfigError(
      `${folder} is a folder of several checkpoints: files that ranks wrote of a model in ${totals.slice(0, 5).join(' and in ')} parts. Keep each in a folder of its own.`,
    );
  const there = new Set(parts.map(({ part }) => part));
  const [total = 0] = totals;
  if (there.size === total) return;
  let missing = 1;
  while (there.has(missing)) missing++;
  throw bad(`no rank's file of part ${missing} of ${total} is there`);
}

/** Ranks below the highest that have no file, as a rank without slices has none; they may be more than there is time to count. */
function holesIn(parts: readonly RankPart[]): string {
  const there = new Set(parts.map(({ rank }) => rank));
  const highest = parts.reduce((most, { rank }) => Math.max(most, rank), 0);
  const holes: string[] = [];
  for (let rank = 1; rank < highest && holes.length <= LISTED; rank++) if (!there.has(rank)) holes.push(namesOfRank(rank));
  if (holes.length === 0) return '';
  const named = holes.slice(0, LISTED).join(', ');
  return `, where ${named}${holes.length > LISTED ? ' and others are' : holes.length > 1 ? ' are' : ' is'} not there`;
}

interface OfAll {
  readonly storages: Storage[];
  readonly findGap: ReturnType<typeof gapFinder>;
  readonly bad: (what: string) => CheckpointLoadError;
}

/** A tensor over its slices: the one that is all of it, or blocks. */
function wholeOf(name: string, { dtype, slices }: Sliced, { storages, findGap, bad }: OfAll): Tensor {
  const [first] = slices;
  if (first === undefined) throw new RangeError(`${name} without a slice`);
  const shape = first.shape.map((_, axis) => slices.reduce((most, each) => Math.max(most, each.start[axis]! + each.shape[axis]!), 0));
  // With sizes of 0 left out: their product is of use to nobody, but has to be a number.
  if (shape.reduce((product, size) => product * BigInt(size || 1), 16n) > BigInt(MAX_TENSOR_BYTES))
    throw bad(`the slices of ${JSON.stringify(name)} make it too large, [${shape.slice(0, 10).join(', ')}]`);
  const gap = findGap(shape, slices);
  if (gap !== undefined) throw bad(`the slices of ${JSON.stringify(name)} do not fill its [${shape.join(', ')}]: ${gap}`);
  const solid = slices.filter((slice) => !slice.shape.includes(0));
  const [only = first] = solid;
  if (solid.length > 1 && DTYPES[dtype].bits % 8 !== 0)
    throw bad(`${JSON.stringify(name)} is cut into slices, and elements of ${dtype} are not whole bytes`);
  const location: StorageLocation =
    solid.length <= 1 ? { kind: 'range', offset: only.offset } : { kind: 'blocks', dtype, shape, blocks: solid };
  return { dtype, shape, storage: storages.push({ file: only.file, location, length: tensorBytes(dtype, shape) }) - 1, offset: 0 };
}
