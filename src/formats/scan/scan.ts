/**
 * A file → what its pickles name, where, and whether that is safe to load. Nothing is loaded, called or imported.
 *
 * Invariant: the container is told by its first bytes, never by the file's name; what was not read is never `safe`.
 */
import { isCheckpointError } from '../../errors.ts';
import { partOf, type ByteSource, type OpenSibling } from '../../model/byte-source.ts';
import type { Finding } from '../../model/header.ts';
import type { GlobalUse, ValueNode } from '../../model/value.ts';
import { EXTRA } from '../distributed/read.ts';
import { foreignContainer, PAGE } from '../foreign-containers.ts';
import { beyondJsonLimits } from '../json-bounds.ts';
import { parseJson } from '../json-break.ts';
import { PICKLE_LIMITS } from '../limits-pickle.ts';
import { readSafetensors } from '../safetensors/read.ts';
import { scanArchive } from './archive.ts';
import { scanBare } from './bare.ts';
import { dangerousOf } from './pickles.ts';
import { isOfContent, newTally, take, type FileVerdict, type Tally } from './tally.ts';

const SNIFF = 512;
/** Bytes of a file without a pickle's mark that are read as one: protocols 0 and 1 have none. */
const UNMARKED_MAX = 16 * 2 ** 20;
/** Bytes from the end in which a zip archive's end record begins, with the longest comment behind it. */
const ZIP_END_MOST = 22 + 0xffff;
/** Bytes of an index of shards. */
const INDEX_MAX = 64 * 2 ** 20;
/** Other files that one file brings along. */
const FILES_MAX = 10_000;

export interface FileScan {
  readonly uri: string;
  readonly verdict: FileVerdict;
  readonly globals: readonly GlobalUse[];
  readonly findings: readonly Finding[];
}

/** A part of another file that is an archive of its own. */
interface Part {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
}

export interface ScanOptions {
  /** Opens the files that an index names. */
  readonly openSibling?: OpenSibling;
  /** Reads the file as a checkpoint, so that what no reader would take is not called safe: tensors outside their storages, missing parts. */
  readonly check?: (source: ByteSource, openSibling?: OpenSibling) => Promise<unknown>;
}

/** Scans a file, and where it is an index, the files that it names: the index comes first. Bad content is a verdict, and so is a store that fails. */
export async function scanFile(source: ByteSource, { openSibling, check }: ScanOptions = {}): Promise<readonly FileScan[]> {
  const tally = newTally(source.uri);
  const others: FileScan[] = [];
  try {
    const { shards, parts, isCheckpoint } = await scanContent(source, tally);
    const names = [...new Set([...shards, ...parts.map(({ name }) => name)])];
    if (names.length > FILES_MAX) tally.broken('too_many_files', `it names ${names.length} files, at most ${FILES_MAX} are scanned`);
    for (const name of names.slice(0, FILES_MAX)) {
      const own = parts.filter((part) => part.name === name);
      const scanned = await scanSibling(name, own, tally, openSibling);
      if (scanned !== undefined) others.push(scanned);
    }
    // Lightning keeps a file of its own beside a distributed checkpoint, which loaders open without its being named.
    if (parts.length > 0 && openSibling !== undefined && !names.includes(EXTRA) && (await isThere(EXTRA, openSibling))) {
      const scanned = await scanSibling(EXTRA, [], tally, openSibling);
      if (scanned !== undefined) others.push(scanned);
    }
    const isSound = [reportOn(tally), ...others].every(({ verdict }) => verdict === 'safe' || verdict === 'unknown');
    if (isCheckpoint && isSound) await check?.(source, openSibling).catch((error: unknown) => blame(tally, error));
  } catch (error) {
    take(tally, error, 'unreadable');
  }
  return [reportOn(tally), ...others];
}

/** Every global of one file, for an error that must name them all. */
export async function globalsOf(source: ByteSource): Promise<readonly GlobalUse[]> {
  const tally = newTally(source.uri);
  try {
    await scanContent(source, tally);
  } catch (error) {
    if (!isOfContent(error)) throw error;
  }
  return tally.globals;
}

/** Bytes that no reader takes are corrupt; sound ones that hold no model are none the less safe. */
function blame(tally: Tally, error: unknown): void {
  if (!isOfContent(error)) throw error;
  const isCorrupt = error.code === 'CheckpointLoadError' || error.code === 'CheckpointNotFoundError';
  if (isCorrupt) tally.broken('unreadable', error.message);
  else tally.note('no_model', error.message);
}

function reportOn(tally: Tally): FileScan {
  return { uri: tally.uri, verdict: tally.verdict(), globals: tally.globals, findings: tally.findings };
}

/** A store may say "forbidden" of what is not there, where listing is not allowed. */
async function isThere(name: string, openSibling: OpenSibling): Promise<boolean> {
  try {
    await (await openSibling(name)).close();
    return true;
  } catch (error) {
    if (!isCheckpointError(error) || error.retryable) throw error;
    return error.code !== 'CheckpointNotFoundError' && error.code !== 'CheckpointSourceError';
  }
}

async function scanSibling(name: string, parts: readonly Part[], tally: Tally, openSibling?: OpenSibling): Promise<FileScan | undefined> {
  let source: ByteSource;
  try {
    if (openSibling === undefined) return void tally.broken('unread_file', 'it names another file, which cannot be opened from here', name);
    source = await openSibling(name);
  } catch (error) {
    return void take(tally, error, 'unread_file', name);
  }
  const own = newTally(source.uri);
  try {
    if (parts.length === 0) {
      const { shards } = await scanContent(source, own);
      if (shards.length > 0) own.broken('nested_index', 'an index names another index');
    }
    let at = 0;
    for (const { offset, length } of parts.toSorted((a, b) => a.offset - b.offset)) {
      if (offset !== at) own.note('gap', `the index names no bytes from ${at} to ${offset}`);
      if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || length < 0 || offset < at || offset + length > source.size)
        own.broken(
          'part_outside',
          `bytes ${offset} to ${offset + length} of ${source.size} do not lie in the file, behind the part before them`,
        );
      else await scanContent(partOf(source, offset, length), own);
      at = Math.max(at, offset + length);
    }
    if (parts.length > 0 && at < source.size) own.broken('unread_bytes', `${source.size - at} bytes at the end are named by no index`);
  } catch (error) {
    take(own, error, 'unreadable');
  } finally {
    await source.close();
  }
  return reportOn(own);
}

interface Content {
  /** Plain names of shards. */
  readonly shards: readonly string[];
  readonly parts: readonly Part[];
  /** Whether a reader of checkpoints should be able to read it. */
  readonly isCheckpoint: boolean;
}

async function scanContent(source: ByteSource, tally: Tally): Promise<Content> {
  const none: Content = { shards: [], parts: [], isCheckpoint: false };
  if (source.size === 0) {
    tally.broken('empty', 'it has 0 bytes');
    return none;
  }
  const start = Buffer.from(await source.read(0, Math.min(SNIFF, source.size)));
  if (start.subarray(0, 4).toString('latin1') === 'PK\x03\x04') {
    await scanArchive(source, tally);
    return { ...none, isCheckpoint: true };
  }
  const isSafetensors = start[8] === 0x7b && start[7] === 0;
  if (!isSafetensors && start[0] === 0x7b) return { ...none, shards: await readShardNames(source, tally), isCheckpoint: true };
  const container = isSafetensors || start[0] === 0x80 ? undefined : foreignContainer(start)?.is;
  // Text is no archive of another kind, whose headers hold bytes of 0.
  const isPage = container === PAGE && !start.includes(0);
  if (container !== undefined && !isPage) tally.broken('unread_container', `it is ${container}, which is not opened here`);
  if (isSafetensors) {
    await readSafetensors(source);
    return none;
  }
  // Whatever it may be: what torch does not know as an archive it unpickles.
  const own = newTally(source.uri);
  const { first, isLegacy, sound } = await scanBare(source, own, start[0] === 0x80 ? PICKLE_LIMITS.bytes : UNMARKED_MAX);
  const isPickle = start[0] === 0x80 || sound;
  tally.addGlobals(isPickle ? own.globals : dangerousOf(own.globals));
  if (!isPickle) {
    if (await endsAsZip(source)) tally.broken('unread_container', 'it ends as a zip archive does, which is not opened behind other bytes');
    else if (isPage) tally.broken('page', `it is ${PAGE}, and no checkpoint`);
    else if (container === undefined)
      tally.broken('no_checkpoint', `it is not a checkpoint: its first bytes are ${start.subarray(0, 8).toString('hex')}`);
    return none;
  }
  const level = { safe: tally.note, unknown: tally.doubt, unread: tally.unread, corrupt: tally.broken, dangerous: tally.broken }[
    own.verdict()
  ];
  for (const { code, message, member } of own.findings) level(code, message, member);
  const parts = partsOf(first.nodes);
  return { shards: [], parts, isCheckpoint: isLegacy || parts.length > 0 };
}

/** Readers of zip archives go by their end, whatever stands before them. */
async function endsAsZip(source: ByteSource): Promise<boolean> {
  const length = Math.min(source.size, ZIP_END_MOST);
  return Buffer.from(await source.read(source.size - length, length)).includes('PK\x05\x06', 0, 'latin1');
}

async function readShardNames(source: ByteSource, tally: Tally): Promise<readonly string[]> {
  if (source.size > INDEX_MAX) {
    tally.broken('too_large', `an index of ${source.size} bytes, at most ${INDEX_MAX} are read`);
    return [];
  }
  let map: unknown;
  try {
    const text = Buffer.from(await source.read(0, source.size)).toString('utf8');
    const beyond = beyondJsonLimits(text);
    if (beyond !== undefined) {
      tally.broken('too_large', beyond);
      return [];
    }
    map = (parseJson(text) as { weight_map?: unknown }).weight_map;
  } catch (error) {
    tally.broken('no_json', `it begins as JSON, and is none (${(error as Error).message})`);
    return [];
  }
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    tally.broken('no_weight_map', 'it is JSON without a weight_map: no index of shards');
    return [];
  }
  return Object.values(map).filter(
    (name) => typeof name === 'string' || void tally.broken('shard_name', 'a shard name is not text'),
  ) as string[];
}

/** Where a distributed checkpoint's index says that archives lie: what the states of its `_StorageInfo` objects hold. */
function partsOf(nodes: readonly ValueNode[]): readonly Part[] {
  const parts: Part[] = [];
  for (const node of nodes) {
    if (typeof node !== 'object' || node?.kind !== 'object' || node.name !== '_StorageInfo') continue;
    const state = nodes[node.state ?? -1];
    if (typeof state !== 'object' || state?.kind !== 'dict') continue;
    const field = new Map(state.entries.map(([key, value]) => [nodes[key], nodes[value]]));
    const [name, offset, length] = [field.get('relative_path'), field.get('offset'), field.get('length')];
    if (typeof name === 'string' && typeof offset === 'number' && typeof length === 'number') parts.push({ name, offset, length });
  }
  return parts;
}
