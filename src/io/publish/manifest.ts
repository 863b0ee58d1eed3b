/** The manifest beside a published file: where it came from, what it holds, and what pins it. */
import { CheckpointValidationError, isCheckpointError, type JsonObject } from '../../errors.ts';
import { JSON_LIMITS, parseBounded } from '../../formats/json-bounds.ts';
import type { PinnedFile } from '../../model/byte-source.ts';
import { jsonText } from '../../model/json-text.ts';
import type { LeftOut } from '../../model/plan.ts';
import { isHttp } from '../../model/scheme.ts';
import type { Destination, Written } from './destination.ts';
import { isManifestOf } from './manifest-form.ts';
import { pinOwn } from './own-files.ts';

export interface ManifestContent {
  readonly format: string;
  readonly size: number;
  /** Absent where a store copied some of the bytes itself: what was not seen is not digested. */
  readonly sha256?: string;
  readonly planSha256: string;
  readonly source: readonly PinnedFile[];
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly sha256?: string;
  }[];
  readonly skipped: readonly LeftOut[];
  readonly dropped: readonly LeftOut[];
  readonly frozen: readonly string[];
  /** How the bytes came there, where a store copied some itself. */
  readonly transfer?: { readonly copied_server_side: number; readonly passed_through: number };
  /** The run's record with its lists complete. */
  readonly record: JsonObject;
  /** Values that lay beyond the range of the dtype they were cast to, where there were any. */
  readonly overflowed?: readonly { readonly name: string; readonly values: number }[];
  /** Names of one tensor that the format had to write under each of them. */
  readonly tied?: readonly (readonly string[])[];
  /** The files that the output, an index, names. */
  readonly shards?: readonly Shard[];
  /** Absent where the output does not follow from these alone. */
  readonly recipe?: Recipe;
}

/** What decides of an output: all that was asked for, and every file that was read. */
export interface Recipe {
  /** Of the stages, the program that ran them, and its settings. */
  readonly sha256: string;
  readonly inputs: readonly PinnedFile[];
}

/** One file of a sharded output. */
export interface Shard {
  readonly uri: string;
  readonly size: number;
  readonly sha256?: string;
  /** As of a whole output. */
  readonly identity: string;
}

export interface Manifest extends ManifestContent {
  readonly version: 1;
  readonly uri: string;
  /** Of the output as it was published: a file that was touched since is not it any more. */
  readonly identity: string;
  readonly created: string;
}

const MANIFEST = '.manifest.json';
/** Values of a manifest: seven for each tensor of those that are read at most, with room for further dimensions and the record. */
const MANIFEST_LIMITS = { ...JSON_LIMITS, values: 6_000_000 };
/** Tensors of a piece of a manifest. */
const LINES = 2048;

export function manifestPath(uri: string): string {
  // The query of a URL is not part of its file's name.
  return isHttp(uri) ? uri.replace(/(?=\?|$)/, MANIFEST) : `${uri}${MANIFEST}`;
}

/**
 * Written last: an output with a manifest is complete. Throws `CheckpointSourceError` where the output is not the one that was
 * published, or one of its shards is not, be it only when its manifest is there: it goes again then, and the index with it, as
 * the set is a mixture.
 */
export async function writeManifest(
  files: Destination,
  output: Written,
  content: ManifestContent,
  shards: readonly Written[] = [],
): Promise<void> {
  const { uri, token } = output;
  const { identity } = await pinOwn(files, output);
  const manifest: Manifest = { version: 1, uri, identity, created: new Date().toISOString(), ...content };
  const written = { uri: manifestPath(uri), identity: await files.writeLong(manifestPath(uri), piecesOf(manifest), token), token };
  try {
    await Promise.all([output, ...shards].map((file) => pinOwn(files, file)));
  } catch (error) {
    // What is wrong with the output says more than why its manifest stays.
    for (const file of shards.length === 0 ? [written] : [written, output]) await files.removeWritten(file).catch(() => undefined);
    throw error;
  }
}

/** `JSON.stringify` of each tensor, which takes its time for so many. Neighbours are often alike. */
function lineWriter(): (tensor: Manifest['tensors'][number]) => string {
  let like: Pick<Manifest['tensors'][number], 'dtype' | 'shape'> | undefined;
  let fields = '';
  return ({ name, dtype, shape, sha256 }) => {
    if (like?.dtype !== dtype || like.shape !== shape) {
      like = { dtype, shape };
      fields = `,"dtype":"${dtype}","shape":[${shape.join(',')}]`;
    }
    return `\n    {"name":${jsonText(name)}${fields}${sha256 === undefined ? '' : `,"sha256":"${sha256}"`}}`;
  };
}

/** Indented, with a line for each tensor; in pieces, as it may have many megabytes. */
async function* piecesOf(manifest: Manifest): AsyncGenerator<string> {
  const { tensors } = manifest;
  const others = JSON.stringify({ ...manifest, tensors: [] }, null, 2);
  // No text holds this, as the quotes in it would be escaped; nor another field, whose indentation is deeper.
  const empty = '\n  "tensors": []';
  const at = others.indexOf(empty) + empty.length;
  yield others.slice(0, at - 1);
  const lineOf = lineWriter();
  let lines = '';
  for (let index = 0; index < tensors.length; index++) {
    if (index > 0) lines += ',';
    lines += lineOf(tensors[index]!);
    if ((index + 1) % LINES > 0) continue;
    yield lines;
    lines = '';
  }
  yield `${lines}${tensors.length === 0 ? '' : '\n  '}]`;
  // By itself: what is put together is copied.
  yield others.slice(at);
  yield '\n';
}

/**
 * The manifest of the output at `uri`, which is as it was, with another recipe: by this one, too, it comes about. Where another run publishes there
 * meanwhile, its manifest stays, or none: never this one beside another output.
 */
export async function renewRecipe(
  files: Destination,
  uri: string,
  manifest: Manifest,
  { recipe, token }: { readonly recipe: Recipe | null; readonly token: string },
): Promise<void> {
  if (recipe === null || JSON.stringify(recipe) === JSON.stringify(manifest.recipe)) return;
  const place = manifestPath(uri);
  if (!(await isAsPublished(files, uri, manifest))) return;
  // Whatever place it names itself: anybody may have written it.
  const identity = await files.writeLong(place, piecesOf({ ...manifest, uri, recipe }), token);
  if (!(await isAsPublished(files, uri, manifest))) await files.removeWritten({ uri: place, identity, token });
}

/** Null where there is none, or none of ours: then what lies there is of no account. */
export async function readManifest(files: Pick<Destination, 'read'>, uri: string): Promise<Manifest | null> {
  const place = manifestPath(uri);
  const text = await files.read(place);
  if (text === null) return null;
  try {
    const manifest = parseManifest(text, place);
    return isManifestOf(uri, manifest) ? manifest : null;
  } catch (error) {
    if (!isCheckpointError(error)) throw error;
    return null;
  }
}

/** Parses a manifest; throws `CheckpointValidationError` unless it is of version 1. Its other fields are not checked here. */
export function parseManifest(text: string, place: string): Manifest {
  let value: unknown;
  try {
    value = parseBounded(text, MANIFEST_LIMITS);
  } catch (cause) {
    throw notManifest(place, (cause as Error).message, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw notManifest(place, 'it is not a JSON object');
  const { version } = value as { readonly version?: unknown };
  if (version !== 1)
    throw notManifest(place, version === undefined ? 'it has no version' : `it is of version ${JSON.stringify(version).slice(0, 50)}`);
  // As far as every reader of it relies on without a look.
  return value as Manifest;
}

export function notManifest(place: string, why: string, cause?: unknown): CheckpointValidationError {
  return new CheckpointValidationError(
    `${place} is not a manifest of version 1: ${why}. Publish the output again, or delete that file.`,
    [why],
    { cause },
  );
}

/** The manifest of an output that is there as it says, made from the same plan; else null. */
export async function unchangedManifest(files: Destination, uri: string, planSha256: string): Promise<Manifest | null> {
  const manifest = await readManifest(files, uri);
  return manifest?.planSha256 === planSha256 && (await isAsPublished(files, uri, manifest)) ? manifest : null;
}

/** Whether the output, with its shards, is the very one that the manifest is about. */
export async function isAsPublished(files: Destination, uri: string, manifest: Manifest): Promise<boolean> {
  for (const file of [{ uri, identity: manifest.identity }, ...(manifest.shards ?? [])]) {
    const there = await files.identity(file.uri);
    if (there === null || there.identity !== file.identity) return false;
  }
  return true;
}
