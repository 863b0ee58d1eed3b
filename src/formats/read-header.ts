/**
 * Any checkpoint → its header. The container is told by the first bytes, never by the name.
 */
import { CheckpointConfigError, CheckpointLoadError, isCheckpointError } from '../errors.ts';
import type { ByteSource, OpenSibling } from '../model/byte-source.ts';
import { isIndexName } from '../model/checkpoint-names.ts';
import type { Container, Header } from '../model/header.ts';
import { pruned } from '../model/tree.ts';
import { isDistributedIndex, readDistributed } from './distributed/read.ts';
import { foreignContainer } from './foreign-containers.ts';
import { refuseDangerous } from './pickle/read.ts';
import { refuseDangerousPickle } from './pickle/refuse-pickle.ts';
import { readSafetensors } from './safetensors/read.ts';
import { ofWholeTensors } from './safetensors/slices.ts';
import { globalsOf } from './scan/scan.ts';
import { readRankSet } from './sharded/rank-set.ts';
import { readSharded } from './sharded/read.ts';
import { isBarePickle, readLegacy } from './torch/legacy.ts';
import { readTorchZip } from './torch/read-zip.ts';
import { withoutWeights } from './torch/state-dict.ts';
import { readArchive } from './zip/archive.ts';

/** First bytes that are looked at. */
const SNIFF = 512;

/** Containers that have no dicts, and what they have in their place. */
const KEYLESS: Partial<Readonly<Record<Container, string>>> = {
  safetensors: 'safetensors have no keys: the whole file is the state dict',
  sharded: 'a set of shards has no keys: all of it is the state dict',
  torchscript: 'a TorchScript module has no keys: its parameters and buffers are the state dict',
};

export interface ReadOptions {
  /** Where the state dict lies, whatever the rules say: a key, or keys with dots between them; empty: the root. */
  readonly stateDictKey?: string | undefined;
}

/**
 * Reads a header; `openSibling` opens the other files of a checkpoint that has several.
 *
 * Throws `CheckpointLoadError` for what is not a readable checkpoint, `CheckpointValidationError` for what is unsafe or has no state dict,
 * `CheckpointConfigError` for a key where there can be none.
 */
export async function readHeader(source: ByteSource, openSibling?: OpenSibling, { stateDictKey }: ReadOptions = {}): Promise<Header> {
  try {
    const header = await readContainer(source, openSibling, stateDictKey);
    if (stateDictKey !== undefined) refuseKey(source.uri, stateDictKey, header.container);
    return header.tree === undefined ? header : { ...header, tree: pruned(withoutWeights(header.tree, header)) };
  } catch (error) {
    // A reader stops at the first pickle that it refuses; the owner must know of all.
    if (namesDanger(error)) refuseDangerous(source.uri, await globalsOf(source));
    throw error;
  }
}

function refuseKey(uri: string, key: string, container: Container): void {
  const why = KEYLESS[container];
  if (why === undefined) return;
  throw new CheckpointConfigError(
    `\`state_dict_key\` is ${JSON.stringify(key)}, but ${uri} cannot have it: ${why}. Leave the option out.`,
    'state_dict_key',
  );
}

function namesDanger(error: unknown): boolean {
  const globals = isCheckpointError(error) && error.code === 'CheckpointValidationError' ? error.details['globals'] : undefined;
  return Array.isArray(globals) && globals.some((use: { readonly verdict?: unknown }) => use.verdict === 'dangerous');
}

async function readContainer(source: ByteSource, openSibling?: OpenSibling, stateDictKey?: string): Promise<Header> {
  // Whatever the first of the files is: it is never all of them.
  if (source.set !== undefined && openSibling !== undefined) return readRankSet(source, source.set, openSibling);
  if (source.size === 0)
    throw new CheckpointLoadError(`${source.uri} is empty: 0 bytes. Was the copy or download interrupted?`, source.uri);
  const start = Buffer.from(await source.read(0, Math.min(SNIFF, source.size)));
  if (start.subarray(0, 4).toString('latin1') === 'PK\x03\x04') return readTorchZip(source, await readArchive(source), stateDictKey);
  // Before what goes by the first byte: that of a length may be any.
  if (isSafetensors(start)) return ofWholeTensors(await readSafetensors(source), source.uri, { openSibling });
  if (isDistributedIndex(source.uri) && openSibling !== undefined) return readDistributed(source, openSibling, stateDictKey);
  if (isIndexName(source.uri) || start[0] === 0x7b) {
    if (openSibling === undefined)
      throw new CheckpointLoadError(`${source.uri} is an index of shards, which cannot be read inside another.`, source.uri);
    return readSharded(source, openSibling, (shard) => readShard(shard, source.uri, openSibling));
  }
  if (isBarePickle(start)) return readLegacy(source, stateDictKey);
  const foreign = foreignContainer(start);
  if (start[8] === 0x7b || (foreign === undefined && source.uri.endsWith('.safetensors'))) return readSafetensors(source);
  await refuseDangerousPickle(source);
  const says =
    foreign === undefined ? unknownContent(start) : `it is ${foreign.is}${foreign.remedy === undefined ? '' : `: ${foreign.remedy}`}`;
  throw new CheckpointLoadError(`${source.uri} is not a checkpoint: ${says}. Expected a torch zip archive or safetensors.`, source.uri, {
    details: { first_bytes: start.subarray(0, 16).toString('hex') },
  });
}

/**
 * A file that the index `index` names: in it no other file is named, but that it holds whole tensors is told by the files beside it. Its
 * state dict is its top level, as the index names tensors, whatever else stands there.
 */
async function readShard(shard: ByteSource, index: string, openSibling: OpenSibling): Promise<Header> {
  const start = await shard.read(0, Math.min(SNIFF, shard.size));
  return isSafetensors(start)
    ? ofWholeTensors(await readSafetensors(shard), shard.uri, { openSibling, index })
    : readContainer(shard, undefined, '');
}

/** A brace behind 8 bytes of a length that is not beyond all bounds. */
function isSafetensors(start: Uint8Array): boolean {
  return start[8] === 0x7b && start.subarray(4, 8).every((byte) => byte === 0);
}

function unknownContent(start: Buffer): string {
  return isText(start) ? 'it is a text file' : `its first bytes are ${start.subarray(0, 8).toString('hex')}`;
}

function isText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127));
}
