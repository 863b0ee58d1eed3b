/** Whether what says that it is a manifest has the form of one: anybody may have written what lies beside an output. */
import { nameOf, siblingUri } from './destination.ts';
import type { Manifest, Recipe, Shard } from './manifest.ts';

type Unchecked<T> = { readonly [name in keyof T]?: unknown };

/** Of all that an output is compared with. */
export function isComparable({ size, sha256, identity, tensors, shards = [] }: Unchecked<Manifest>): boolean {
  return (
    typeof size === 'number' &&
    isTextIfAny(sha256) &&
    isTextIfAny(identity) &&
    isListOf<Manifest['tensors'][number]>(
      tensors,
      ({ name, dtype, shape, sha256: digest }) =>
        typeof name === 'string' &&
        typeof dtype === 'string' &&
        Array.isArray(shape) &&
        shape.every((length) => typeof length === 'number') &&
        isTextIfAny(digest),
    ) &&
    isListOf<Shard>(
      shards,
      ({ uri, sha256: digest, identity: version }) => shardName({ uri }) !== null && isTextIfAny(digest) && isTextIfAny(version),
    )
  );
}

/** Of all that is read from the manifest of the output at `uri`, whose shards lie beside it. */
export function isManifestOf(uri: string, manifest: Unchecked<Manifest>): boolean {
  const { identity, skipped, dropped, frozen, record, shards = [], recipe } = manifest;
  return (
    isComparable(manifest) &&
    typeof identity === 'string' &&
    [skipped, dropped].every((list) =>
      isListOf<Manifest['skipped'][number]>(list, ({ what, reason }) => typeof what === 'string' && typeof reason === 'string'),
    ) &&
    Array.isArray(frozen) &&
    frozen.every((name) => typeof name === 'string') &&
    isObject(record) &&
    isListOf<Shard>(shards, (shard) => shard.uri === siblingUri(uri, shardName(shard)!)) &&
    (recipe === undefined || isRecipe(recipe))
  );
}

/** Of the file beside the index, wherever that lies by now; null where it is named by no URI. */
export function shardName({ uri }: { readonly uri?: unknown }): string | null {
  try {
    return typeof uri === 'string' ? nameOf(uri) : null;
  } catch {
    return null;
  }
}

function isRecipe(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { sha256, inputs } = value as Unchecked<Recipe>;
  return (
    typeof sha256 === 'string' &&
    isListOf<Recipe['inputs'][number]>(
      inputs,
      (input) => typeof input.uri === 'string' && typeof input.size === 'number' && typeof input.identity === 'string',
    )
  );
}

function isListOf<T>(value: unknown, fits: (each: Unchecked<T>) => boolean): boolean {
  return Array.isArray(value) && value.every((each) => isObject(each) && fits(each as Unchecked<T>));
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTextIfAny(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}
