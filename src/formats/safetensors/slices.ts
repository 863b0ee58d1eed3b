/**
 * What torch's distributed writer says of a safetensors file: where in its tensors the file's slices begin.
 *
 * `HuggingFaceStorageWriter(save_distributed=True)` gives every rank files of its own, which hold the rank's slices under the tensors'
 * names. Their metadata has `DCP_SHARDING_INFO`: JSON, name → `saved_offsets`, one for each axis (torch 2.15, `filesystem.py` and
 * `_hf_utils.py`); neither the whole shape nor the number of ranks is written down.
 *
 * Invariant: a slice never goes for its tensor.
 */
import { CheckpointLoadError, CheckpointValidationError, isCheckpointError } from '../../errors.ts';
import { folderOf, nameOf, type OpenSibling } from '../../model/byte-source.ts';
import { filesOfOtherRanks, isRankShard, isWholeShard, RANK_SHARD_NAMES } from '../../model/checkpoint-names.ts';
import { RANKS_UNKNOWN, type Header } from '../../model/header.ts';
import { isHttp } from '../../model/scheme.ts';
import { JsonScanner, JsonSyntaxError } from './json-scanner.ts';
import { UNKNOWN_MAX } from './read.ts';

const SLICES = 'DCP_SHARDING_INFO';
/** What is said of one slice; torch says where it begins only. */
const FIELDS_MAX = 8;
/** Characters of a name that a message shows. */
const NAME_SHOWN = 200;
/** Of the container, not of the model. */
const WRITER_KEYS = new Set([SLICES, 'DCP_VERSION']);

/** Where each of the file's weights begins in its tensor; undefined for a file of any other writer. */
export type SliceStarts = ReadonlyMap<string, readonly number[]>;

/**
 * Throws `CheckpointLoadError` where the file's word of its slices does not fit its tensors. It is read as it is checked, so that
 * it makes no more than the tensors do, whatever its length.
 */
export function sliceStarts({ metadata, weights, tensors }: Header, uri: string): SliceStarts | undefined {
  const text = metadata[SLICES];
  if (text === undefined) return undefined;
  const bad = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(
      `${uri} is not a valid file of torch's distributed writer: ${SLICES} in its metadata ${what}. Where another program made it of such a file, save it again without that entry.`,
      uri,
    );
  const axes = new Map(weights.map(({ name, tensor }) => [name, tensors[tensor]!.shape.length]));
  const told = offsetsIn(text, axes, bad);
  return new Map(
    weights.map(({ name }) => {
      const start = told.get(name);
      if (start?.length !== axes.get(name)) throw bad(`has no offset for each of the ${axes.get(name)} axes of ${JSON.stringify(name)}`);
      return [name, start!];
    }),
  );
}

/** The offsets of each name of `axes`, of at most as many numbers. */
function offsetsIn(text: string, axes: ReadonlyMap<string, number>, bad: (what: string) => CheckpointLoadError): SliceStarts {
  const told = new Map<string, readonly number[]>();
  const json = new JsonScanner(text);
  try {
    json.object((name) => {
      const most = axes.get(name);
      if (most === undefined) throw bad(`names ${JSON.stringify(name.slice(0, NAME_SHOWN))}, which is no tensor of the file`);
      let fields = 0;
      json.object((field) => {
        if (++fields > FIELDS_MAX) throw json.error(`a slice of more than ${FIELDS_MAX} fields`);
        if (field === 'saved_offsets') told.set(name, json.unsignedList(most));
        else json.anyValue(UNKNOWN_MAX);
      });
    });
    json.end();
  } catch (error) {
    if (error instanceof JsonSyntaxError) throw bad(`is not read: ${error.message}`);
    throw error;
  }
  return told;
}

/** Metadata without what the writer says of its files: it holds for none that is made of them. */
export function withoutSlices(metadata: Header['metadata']): Header['metadata'] {
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !WRITER_KEYS.has(key)));
}

/** How a file was come by. */
interface Found {
  readonly openSibling: OpenSibling | undefined;
  /** The index that names the file; a folder that holds one is read by it, whatever else is in there. */
  readonly index?: string;
}

/** The header of a file that was asked for, or named by an index; throws `CheckpointValidationError` where other ranks have more of its tensors. */
export async function ofWholeTensors(header: Header, uri: string, { openSibling, index }: Found): Promise<Header> {
  const starts = sliceStarts(header, uri);
  if (starts === undefined) return header;
  const slice = [...starts].find(([, start]) => start.some((each) => each > 0));
  if (slice !== undefined) throw partOfSet(uri, index, `${JSON.stringify(slice[0])} begins at [${slice[1].join(', ')}] of its tensor`);
  const name = nameOf(uri);
  const others = filesOfOtherRanks(name);
  if (others === 'later') throw partOfSet(uri, index, 'by its name it is not of the first rank');
  const other = openSibling === undefined || !isFolderRead(uri) ? undefined : await firstThere(others, openSibling);
  if (other !== undefined) throw partOfSet(uri, index, `${other} lies beside it`);
  const told =
    "torch's distributed writer wrote the file, which does not say how many ranks there were: what others wrote elsewhere of its tensors is missing";
  const findings = isWholeShard(name) ? header.findings : [...header.findings, { code: RANKS_UNKNOWN, message: told }];
  return { ...header, metadata: withoutSlices(header.metadata), findings };
}

function partOfSet(uri: string, index: string | undefined, why: string): CheckpointValidationError {
  const folder = folderOf(uri);
  const first = index === undefined ? '' : `The index ${nameOf(index)} cannot name them: take it out of the folder. `;
  const advice =
    isRankShard(nameOf(uri)) && isFolderRead(uri)
      ? `${first}Name the folder that holds them, ${folder}.`
      : `${first}Put them into one folder, under the names that HuggingFaceStorageWriter gives them (${RANK_SHARD_NAMES}), and name that.`;
  return new CheckpointValidationError(
    `${uri} holds slices of tensors, one rank's of several (${why}): as torch's HuggingFaceStorageWriter(save_distributed=True) writes them, only all files together are the model. ${advice}`,
    ['slices of tensors'],
    { details: { reason: 'slices', folder } },
  );
}

/** Over HTTP there are no folders: to open a file may be to download it, and a server may answer for names that it does not have. */
function isFolderRead(uri: string): boolean {
  return !isHttp(uri);
}

/** The first of the names that is there; a store may say "forbidden" of what is not, where listing is not allowed. */
async function firstThere(names: readonly string[], openSibling: OpenSibling): Promise<string | undefined> {
  const found = await Promise.all(
    names.map(async (name) => {
      try {
        await (await openSibling(name)).close();
        return name;
      } catch (error) {
        if (!isCheckpointError(error) || error.retryable) throw error;
        return undefined;
      }
    }),
  );
  return found.find((name) => name !== undefined);
}
