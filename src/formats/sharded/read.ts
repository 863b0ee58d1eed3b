/**
 * A set of shards behind an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`) → one header over all files.
 *
 * Invariant: the index only names; every tensor is what its shard's own header says, and nothing outside the index's folder is
 * opened. Like the reference (transformers), tensors of a shard that the index does not name are read, too; unlike it, one name in
 * two shards is refused, as the result would depend on the order of loading.
 */
import { CheckpointLoadError, CheckpointNotFoundError, CheckpointValidationError, isCheckpointError } from '../../errors.ts';
import type { ByteSource, OpenSibling } from '../../model/byte-source.ts';
import { isIndexName } from '../../model/checkpoint-names.ts';
import {
  NO_TRAINING,
  movedBehind,
  type Attribute,
  type Finding,
  type Header,
  type Storage,
  type Tensor,
  type Weight,
} from '../../model/header.ts';
import { beyondJsonLimits } from '../json-bounds.ts';
import { parseJson } from '../json-break.ts';
import { JsonScanner } from '../safetensors/json-scanner.ts';
import { HEADER_MAX } from '../safetensors/layout.ts';
import { TENSORS_MAX } from '../safetensors/read.ts';

/** Bytes of an index: 100 000 tensors take about 12 MB. */
const INDEX_MAX = 64 * 2 ** 20;
/** Shards of one set; the largest public models have about 200. */
const SHARDS_MAX = 10_000;
/** Shards whose headers are read at once: hides latency, keeps memory at a few headers. */
const AT_ONCE = 4;
/** Names that a finding lists. */
const LISTED = 10;

/** Reads an index and the headers of its shards by `readShard`. */
export async function readSharded(
  source: ByteSource,
  openSibling: OpenSibling,
  readShard: (source: ByteSource) => Promise<Header>,
): Promise<Header> {
  const weightMap = await readIndex(source);
  const shards = [...new Set(weightMap.values())];
  if (shards.length > SHARDS_MAX) throw unsound(source.uri, `it names ${shards.length} shards, at most ${SHARDS_MAX} are read`);
  const set = openSet(source.uri);
  for (let at = 0; at < shards.length; at += AT_ONCE) {
    const names = shards.slice(at, at + AT_ONCE);
    const read = await Promise.allSettled(names.map((name) => headerOf(name)));
    read.forEach((result, index) => {
      if (result.status === 'rejected') throw result.reason;
      set.add(names[index]!, result.value);
    });
  }
  return set.header(weightMap);

  async function headerOf(name: string): Promise<Header> {
    const shard = await openSibling(name).catch((cause: unknown) => {
      if (isCheckpointError(cause) && cause.code === 'CheckpointNotFoundError') throw missing(source.uri, name, cause);
      throw cause;
    });
    try {
      return await readShard(shard);
    } catch (cause) {
      // What it says to do is for a file by itself, which can have a key.
      if (!isCheckpointError(cause) || cause.details['reason'] !== 'no_state_dict') throw cause;
      const held = cause.details['keys_with_tensors'];
      throw unsound(
        source.uri,
        `its shard ${name} has no tensors at its top level${Array.isArray(held) ? `, but under ${held.join(', ')}` : ''}. Save each shard as a flat dict of tensors`,
        cause,
      );
    } finally {
      await shard.close();
    }
  }
}

/** Tensor name → name of its shard, in the index's order. */
async function readIndex(source: ByteSource): Promise<ReadonlyMap<string, string>> {
  if (source.size > INDEX_MAX) throw unsound(source.uri, `it has ${source.size} bytes, at most ${INDEX_MAX} are read`);
  const weightMap = new Map<string, string>();
  let found = false;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await source.read(0, source.size));
    const beyond = beyondJsonLimits(text);
    if (beyond !== undefined) throw unsound(source.uri, beyond);
    parseJson(text);
    // Valid JSON so far; a name that stands twice is lost there.
    const json = new JsonScanner(text);
    json.object((key) => {
      if (key !== 'weight_map') return json.skip();
      found = true;
      json.object((name) => {
        // A whole set has as many as one file may have.
        if (weightMap.size === TENSORS_MAX) throw unsound(source.uri, `its weight_map has more than ${TENSORS_MAX} tensors`);
        weightMap.set(name, json.string());
      });
    });
  } catch (cause) {
    if (isCheckpointError(cause)) throw cause;
    throw unsound(source.uri, `it is not a JSON object with a weight_map of names (${(cause as Error).message})`, cause);
  }
  if (!found || weightMap.size === 0) throw unsound(source.uri, 'it has no weight_map, or an empty one');
  for (const [name, shard] of weightMap) checkShardName(source.uri, name, shard);
  return weightMap;
}

function checkShardName(uri: string, tensor: string, shard: string): void {
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  if (shard !== '' && !/[/\\:\u0000-\u001f\u007f]|^\.{1,2}$/.test(shard) && !isIndexName(shard)) return;
  throw new CheckpointValidationError(
    `${uri}: the shard of ${JSON.stringify(tensor)} is ${JSON.stringify(shard.slice(0, 200))}, expected the plain name of a file in the same folder. Nothing outside the folder is opened.`,
    [`shard name ${JSON.stringify(shard.slice(0, 200))}`],
  );
}

/** The header of all shards, which grows by one of them at a time. */
interface ShardSet {
  readonly add: (shard: string, header: Header) => void;
  readonly header: (weightMap: ReadonlyMap<string, string>) => Header;
}

/** Invariant: what is held is what one file may have, however many shards there are: more is refused with the shard that brings it. */
function openSet(uri: string): ShardSet {
  const files: Header['files'][number][] = [];
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const byName = new Map<string, { readonly shard: string; readonly weight: Weight }>();
  const nonTensors: Header['nonTensors'][number][] = [];
  const attributes: Attribute[] = [];
  const globals: Header['globals'][number][] = [];
  const findings: Finding[] = [];
  const metadata = new Map<string, string>();
  let metadataLength = 0;
  let isSafetensors = true;

  function add(shard: string, header: Header): void {
    const [file, storage, tensor] = [files.length, storages.length, tensors.length];
    const counts = { tensors, storages, 'other values': nonTensors, attributes, globals, findings };
    const more = [header.tensors, header.storages, header.nonTensors, header.attributes ?? [], header.globals, header.findings];
    for (const [index, [what, held]] of Object.entries(counts).entries())
      if (held.length + more[index]!.length > TENSORS_MAX)
        throw unsound(uri, `its shards hold more than ${TENSORS_MAX} ${what} together, with ${shard}`);
    files.push(...header.files);
    for (const each of header.storages) storages.push(movedBehind(each, file));
    for (const each of header.tensors) tensors.push({ ...each, storage: each.storage === -1 ? -1 : each.storage + storage });
    for (const weight of header.weights) {
      const twin = byName.get(weight.name);
      if (twin !== undefined)
        throw new CheckpointValidationError(
          `${uri}: ${JSON.stringify(weight.name)} is in two shards, ${twin.shard} and ${shard}; which one counts depends on the reader.`,
          [`${weight.name} is in two shards`],
          { details: { tensor: weight.name, shards: [twin.shard, shard] } },
        );
      byName.set(weight.name, { shard, weight: { name: weight.name, tensor: weight.tensor + tensor } });
    }
    for (const each of header.nonTensors) nonTensors.push(each);
    for (const each of header.attributes ?? []) attributes.push(each);
    for (const each of header.globals) globals.push({ ...each, member: `${shard}/${each.member}` });
    for (const each of header.findings) findings.push({ ...each, member: each.member === undefined ? shard : `${shard}/${each.member}` });
    // The first shard's word counts, as all are written by one call.
    for (const [key, value] of Object.entries(header.metadata)) {
      if (metadata.has(key)) continue;
      if ((metadataLength += key.length + value.length) > HEADER_MAX)
        throw unsound(uri, `the metadata of its shards has more than ${HEADER_MAX} characters together, with ${shard}`);
      metadata.set(key, value);
    }
    isSafetensors &&= header.format === 'safetensors';
  }

  function header(weightMap: ReadonlyMap<string, string>): Header {
    const weights: Weight[] = [];
    for (const [name, shard] of weightMap) {
      const held = byName.get(name);
      if (held?.shard !== shard)
        throw new CheckpointLoadError(
          `${uri}: ${JSON.stringify(name)} should be in ${shard}, ${held === undefined ? 'which does not hold it' : `but is in ${held.shard}`}. Copy the whole set again.`,
          uri,
          { details: { tensor: name, shard } },
        );
      weights.push(held.weight);
      byName.delete(name);
    }
    if (byName.size > 0) {
      const names = [...byName.keys()].slice(0, LISTED).map((name) => JSON.stringify(name));
      findings.push({
        code: 'unlisted_tensors',
        message: `the shards hold tensors that the index does not name (${byName.size}): ${names.join(', ')}${byName.size > LISTED ? ', …' : ''}`,
      });
      for (const { weight } of byName.values()) weights.push(weight);
    }
    return {
      format: isSafetensors ? 'safetensors' : 'state_dict',
      container: 'sharded',
      files,
      storages,
      tensors,
      weights,
      nonTensors,
      ...(attributes.length === 0 ? {} : { attributes }),
      stateDictKey: null,
      training: NO_TRAINING,
      metadata: Object.fromEntries(metadata),
      globals,
      findings,
    };
  }

  return { add, header };
}

function missing(uri: string, shard: string, cause: unknown): CheckpointNotFoundError {
  return new CheckpointNotFoundError(`${uri} names the shard ${shard}, which is not beside it. Copy the whole set.`, shard, { cause });
}

function unsound(uri: string, what: string, cause?: unknown): CheckpointLoadError {
  return new CheckpointLoadError(`${uri} is not a valid index of shards: ${what}.`, uri, cause === undefined ? {} : { cause });
}
