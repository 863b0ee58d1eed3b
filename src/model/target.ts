/**
 * What the weights must fit: names, shapes and dtypes of a model, and its own values where it is a checkpoint.
 *
 * Invariant: plain JSON and checked like a header; a target from a JSON spec has no `origin` anywhere, no files and no storages.
 */
import type { PinnedFile } from './byte-source.ts';
import type { Dtype } from './dtype.ts';
import type { Storage, Tensor } from './header.ts';

export interface TargetTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The target's own value; `origin.storage` indexes `Target.storages`. Absent where there are no bytes in a dense form. */
  readonly origin?: Tensor;
  /** A buffer, not a parameter, where the target says so. */
  readonly buffer?: boolean;
}

export interface Target {
  /** Where it was read from; null for a spec that stands in the document. */
  readonly uri: string | null;
  readonly kind: 'checkpoint' | 'spec';
  readonly files: readonly PinnedFile[];
  readonly storages: readonly Storage[];
  /** In the target's own order, which is the order of what is published. */
  readonly tensors: readonly TargetTensor[];
}
