/** Two state dicts side by side, by their headers. Pure; values are the caller's to compare. */
import type { Dtype } from '../model/dtype.ts';
import { float4As } from '../model/float4.ts';
import type { Header, Tensor } from '../model/header.ts';

export interface Mismatch<T> {
  readonly name: string;
  readonly source: T;
  readonly target: T;
}

export interface Comparison {
  /** Only in the target. */
  readonly missing: readonly string[];
  /** Only in the source. */
  readonly unexpected: readonly string[];
  readonly shapes: readonly Mismatch<readonly number[]>[];
  readonly dtypes: readonly Mismatch<Dtype>[];
  /** Names whose tensor has no dense form on a side: nothing more can be said of them. */
  readonly unsupported: readonly string[];
  /** Names of equal shape and dtype: what is left to compare is their values. */
  readonly alike: readonly { readonly name: string; readonly source: Tensor; readonly target: Tensor }[];
}

/** `source` against `target`, names in the order of each file. */
export function compareWeights(source: Header, target: Header): Comparison {
  const sources = byName(source);
  const targets = byName(target);
  const shapes: Mismatch<readonly number[]>[] = [];
  const dtypes: Mismatch<Dtype>[] = [];
  const unsupported: string[] = [];
  const alike: { name: string; source: Tensor; target: Tensor }[] = [];
  for (const [name, given] of sources) {
    const theirs = targets.get(name);
    if (theirs === undefined) continue;
    const ours = float4As(given, theirs.dtype);
    if (ours.unsupported !== undefined || theirs.unsupported !== undefined) {
      unsupported.push(name);
      continue;
    }
    const sameShape = ours.shape.length === theirs.shape.length && ours.shape.every((size, axis) => size === theirs.shape[axis]);
    if (!sameShape) shapes.push({ name, source: ours.shape, target: theirs.shape });
    if (ours.dtype !== theirs.dtype) dtypes.push({ name, source: ours.dtype, target: theirs.dtype });
    if (sameShape && ours.dtype === theirs.dtype) alike.push({ name, source: ours, target: theirs });
  }
  return {
    missing: [...targets.keys()].filter((name) => !sources.has(name)),
    unexpected: [...sources.keys()].filter((name) => !targets.has(name)),
    shapes,
    dtypes,
    unsupported,
    alike,
  };
}

function byName({ weights, tensors }: Header): ReadonlyMap<string, Tensor> {
  return new Map(weights.map(({ name, tensor }) => [name, tensors[tensor]!]));
}
