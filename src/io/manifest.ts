/** The manifest beside a published file: where it came from, what it holds, and what pins it. */
import { readFile, stat } from 'node:fs/promises';
import type { JsonObject } from '../errors.ts';
import type { PinnedFile } from '../model/byte-source.ts';
import type { LeftOut } from '../model/plan.ts';
import { writeAtomically } from './atomic-file.ts';
import { localIdentity, localPath } from './local-file.ts';

export interface ManifestContent {
  readonly format: string;
  readonly size: number;
  readonly sha256: string;
  readonly planSha256: string;
  readonly source: readonly PinnedFile[];
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly sha256: string;
  }[];
  readonly skipped: readonly LeftOut[];
  readonly dropped: readonly LeftOut[];
  readonly frozen: readonly string[];
  /** The run's record with its lists complete. */
  readonly record: JsonObject;
  /** Names of one tensor that the format had to write under each of them. */
  readonly tied?: readonly (readonly string[])[];
  /** The files that the output, an index, names. */
  readonly shards?: readonly Shard[];
}

/** One file of a sharded output. */
export interface Shard {
  readonly uri: string;
  readonly size: number;
  readonly sha256: string;
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

export function manifestPath(uri: string): string {
  return `${uri}.manifest.json`;
}

/** Written last: an output with a manifest is complete. */
export async function writeManifest(uri: string, content: ManifestContent): Promise<void> {
  const path = localPath(uri);
  const identity = localIdentity(await stat(path, { bigint: true }));
  const manifest: Manifest = { version: 1, uri, identity, created: new Date().toISOString(), ...content };
  await writeAtomically(manifestPath(path), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Null where there is none, or none of ours. */
export async function readManifest(uri: string): Promise<Manifest | null> {
  const text = await readFile(manifestPath(localPath(uri)), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const manifest = JSON.parse(text) as Manifest;
    return manifest.version === 1 ? manifest : null;
  } catch {
    return null;
  }
}

/** True where the output is there as its manifest says, made from the same plan. */
export async function isUnchanged(uri: string, planSha256: string): Promise<boolean> {
  const manifest = await readManifest(uri);
  if (manifest?.planSha256 !== planSha256) return false;
  for (const file of [{ uri, identity: manifest.identity }, ...(manifest.shards ?? [])]) {
    const stats = await stat(localPath(file.uri), { bigint: true }).catch(() => null);
    if (stats === null || localIdentity(stats) !== file.identity) return false;
  }
  return true;
}
