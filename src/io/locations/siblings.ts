/**
 * Files of the same folder, for checkpoints of several files.
 *
 * Invariant: a name never leads out of the folder, nor does a symbolic link, but for the one layout that is made of links: a
 * snapshot of the Hugging Face cache (`snapshots/<revision>/<name>` → `blobs/<digest>`).
 */
import { opendir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointConfigError, CheckpointLoadError, CheckpointNotFoundError, CheckpointValidationError } from '../../errors.ts';
import type { ByteSource, OpenSibling } from '../../model/byte-source.ts';
import { isCheckpointName, isIndexName, isRankShard, isVariantIndexName } from '../../model/checkpoint-names.ts';
import { isLocal } from '../../model/scheme.ts';
import { localPath, localUri } from '../local/local-file.ts';
import { isS3, parseS3Prefix, s3Uri } from '../s3/location.ts';
import { FOLDER_PAGES, objectsUnder } from '../s3/source.ts';
import type { Storage } from '../storage/storage.ts';

/** Of a torch distributed checkpoint. */
const DISTRIBUTED_METADATA = '.metadata';
/** Checkpoints of one folder that are looked for: of more than one, a few are shown. */
const FOUND_MOST = 100;

/** What Hugging Face's libraries name the weights of a model's folder; of the same ones in both forms they read safetensors. */
const WEIGHTS = /^(?:model|pytorch_model|adapter_model|diffusion_pytorch_model)\.(?:safetensors|bin)$/;

/** What opens the siblings of `uri` by `open`, whichever scheme it has. */
export function siblingsOf(uri: string, open: (uri: string) => Promise<ByteSource>): OpenSibling {
  return async (name) => {
    if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name))
      throw new CheckpointValidationError(`${JSON.stringify(name)} is not a plain file name.`, ['file name']);
    // Keys are taken as they are written; other URIs have escapes.
    if (isS3(uri)) return open(uri.slice(0, uri.lastIndexOf('/') + 1) + name);
    if (!isLocal(uri)) return open(new URL(encodeURIComponent(name), uri).href);
    const path = join(dirname(localPath(uri)), name);
    await checkInside(path);
    return open(localUri(path));
  };
}

export interface CheckpointFile {
  readonly uri: string;
  /** Names of the files that are one checkpoint, the file's own among them: of those that ranks wrote into the folder that was asked for. */
  readonly set?: readonly string[];
}

/**
 * The file that stands for a folder: its only index of shards, the metadata of a distributed checkpoint, or else the weights by the name that
 * they have in a model's folder, or the first of the files that ranks wrote, with the names of all; other paths as they are.
 */
export async function checkpointFile(uri: string, storage: Storage, signal?: AbortSignal): Promise<CheckpointFile> {
  if (isS3(uri)) return uri.endsWith('/') ? checkpointObject(uri, storage, signal) : { uri };
  if (!isLocal(uri)) return { uri };
  const path = localPath(uri);
  await storage.fence.checkPath(path);
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isDirectory() !== true) return { uri };
  const { name, ...set } = onlyCheckpoint(path, await checkpointsAmong(namesIn(path)));
  return { uri: localUri(join(path, name)), ...set };
}

async function* namesIn(folder: string): AsyncGenerator<string> {
  for await (const { name } of await opendir(folder)) yield name;
}

/** The same for a prefix of an S3 store that ends with a slash. */
async function checkpointObject(uri: string, storage: Storage, signal: AbortSignal | undefined): Promise<CheckpointFile> {
  const port = await storage.s3(uri);
  const location = parseS3Prefix(uri);
  const { policy } = storage;
  async function* names(): AsyncGenerator<string> {
    for await (const { key } of objectsUnder(port, location, { flat: true, policy, signal, mostPages: FOLDER_PAGES }))
      yield key.slice(location.key.length);
  }
  const among = await checkpointsAmong(names());
  if (!among.isEmpty) {
    const { name, ...set } = onlyCheckpoint(uri, among);
    return { uri: uri + name, ...set };
  }
  for await (const { key } of objectsUnder(port, location, { flat: false, policy, signal, mostPages: FOLDER_PAGES }))
    throw new CheckpointLoadError(
      `${uri} contains no checkpoint directly; ${s3Uri({ bucket: location.bucket, key })}, for example, lies below it. Name one checkpoint; \`ckpt scan\` and batches take all below a prefix.`,
      uri,
    );
  throw new CheckpointNotFoundError(`There is nothing under ${uri}.`, uri);
}

interface Among {
  /** Those that stand for a whole checkpoint of several files, sorted. */
  readonly indexes: readonly string[];
  /** Of a model's folder. */
  readonly weights: readonly string[];
  /** Files of single ranks, which are one checkpoint together. */
  readonly ranks: readonly string[];
  /** Indexes of variants, which nobody means who does not name one and has another choice. */
  readonly variants: readonly string[];
  /** Others that look like checkpoints: some of them. */
  readonly others: readonly string[];
  readonly isEmpty: boolean;
}

/** What the names of a folder stand for; no more are looked at once it is known that there are many. */
async function checkpointsAmong(names: AsyncIterable<string>): Promise<Among> {
  const [indexes, weights, ranks, variants, others]: [string[], string[], string[], string[], string[]] = [[], [], [], [], []];
  let isEmpty = true;
  for await (const name of names) {
    isEmpty = false;
    if (isVariantIndexName(name)) variants.push(name);
    else if (isIndexName(name) || name === DISTRIBUTED_METADATA) indexes.push(name);
    else if (WEIGHTS.test(name)) weights.push(name);
    else if (isRankShard(name)) ranks.push(name);
    else if (isCheckpointName(name) && others.length < FOUND_MOST) others.push(name);
    if (indexes.length === FOUND_MOST || variants.length === FOUND_MOST) break;
  }
  return {
    indexes: indexes.toSorted(),
    weights: preferred(weights.toSorted()),
    ranks: ranks.toSorted(),
    variants: variants.toSorted(),
    others: others.toSorted(),
    isEmpty,
  };
}

/** Of one model in both forms safetensors. */
function preferred(weights: readonly string[]): readonly string[] {
  const models = new Set(weights.map((name) => name.replace(/^pytorch_model/, 'model').replace(/\.\w+$/, '')));
  return models.size === 1 && weights.length > 1 ? weights.filter((name) => name.endsWith('.safetensors')) : weights;
}

function onlyCheckpoint(
  folder: string,
  { indexes, weights, ranks, variants, others }: Among,
): { readonly name: string; readonly set?: readonly string[] } {
  const found = [indexes, weights, variants].find((names) => names.length > 0) ?? [];
  const [only, second] = found;
  if (only !== undefined && second === undefined) return { name: only };
  if (only === undefined && ranks[0] !== undefined) return { name: ranks[0], set: ranks };
  if (only === undefined) {
    const there = others.length === 0 ? '' : ` such as ${others.slice(0, 5).join(', ')}`;
    throw new CheckpointLoadError(
      `${folder} is a folder without an index of shards (*.index.json), a ${DISTRIBUTED_METADATA} file or model.safetensors; name a checkpoint file in it${there}.`,
      folder,
      { details: { reason: 'folder', files: others.slice(0, 20) } },
    );
  }
  throw new CheckpointConfigError(`${folder} is a folder of several checkpoints: ${found.slice(0, 5).join(', ')}. Name the one to read.`);
}

async function checkInside(path: string): Promise<void> {
  const folder = await realpath(dirname(path));
  const target = await realpath(path).catch((cause: NodeJS.ErrnoException) => {
    throw new CheckpointNotFoundError(`${path} does not exist.`, path, { cause });
  });
  const inside = dirname(target) === folder;
  const cached = basename(dirname(folder)) === 'snapshots' && dirname(target) === join(dirname(dirname(folder)), 'blobs');
  if (!inside && !cached)
    throw new CheckpointValidationError(`${path} is a symbolic link out of its folder, to ${target}. Copy the file into the folder.`, [
      'symbolic link out of the folder',
    ]);
  if (!(await stat(target)).isFile()) throw new CheckpointLoadError(`${path} is not a regular file.`, path);
}
