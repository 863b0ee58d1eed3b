/**
 * Contents as they lie in a page: columns of few values as places in a list of them, and digests, which nothing compresses, as bytes of
 * their own.
 *
 * Invariant: no import but types, as the page is bundled from it; unpacking gives what was packed.
 */
import type { Contents, RunContents, TensorColumns } from './contents.ts';

interface Repeated {
  readonly values: readonly (string | null)[];
  /** For each row its place in `values`. */
  readonly places: readonly number[];
}

interface PackedColumns extends Omit<TensorColumns, 'dtype' | 'shape' | 'sha256'> {
  readonly dtype: Repeated;
  readonly shape: Repeated;
}

export type PackedContents = Exclude<Contents, RunContents> | (Omit<RunContents, 'tensors'> & { readonly tensors: PackedColumns | null });

/** Bytes of a SHA-256. */
const DIGEST = 32;
/** Where there is no digest: nothing known has this one. */
const NO_DIGEST = '00'.repeat(DIGEST);

/** `digests`: those of all rows, in hex. */
export function packContents(contents: Contents): { readonly packed: PackedContents; readonly digests: string } {
  if (contents.kind === 'batch') return { packed: contents, digests: '' };
  if (contents.tensors === null) return { packed: { ...contents, tensors: null }, digests: '' };
  const { dtype, shape, sha256, ...columns } = contents.tensors;
  return {
    packed: { ...contents, tensors: { ...columns, dtype: repeated(dtype), shape: repeated(shape) } },
    digests: sha256.map((digest) => digest ?? NO_DIGEST).join(''),
  };
}

/** `digests`: the bytes of what `packContents` gave in hex. */
export function unpackContents(packed: PackedContents, digests: Uint8Array): Contents {
  if (packed.kind === 'batch') return packed;
  if (packed.tensors === null) return { ...packed, tensors: null };
  const { dtype, shape, ...columns } = packed.tensors;
  const sha256 = columns.name.map((_, row) => {
    let digest = '';
    for (const byte of digests.subarray(row * DIGEST, (row + 1) * DIGEST)) digest += byte.toString(16).padStart(2, '0');
    return digest === NO_DIGEST ? null : digest;
  });
  return { ...packed, tensors: { ...columns, dtype: valuesOf(dtype), shape: valuesOf(shape), sha256 } };
}

function repeated(column: readonly (string | null)[]): Repeated {
  const known = new Map<string | null, number>();
  const places = column.map((value) => {
    let place = known.get(value);
    if (place === undefined) known.set(value, (place = known.size));
    return place;
  });
  return { values: [...known.keys()], places };
}

function valuesOf({ values, places }: Repeated): readonly (string | null)[] {
  return places.map((place) => values[place] ?? null);
}
