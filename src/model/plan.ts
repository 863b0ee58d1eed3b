/**
 * The published file, described: which tensors in which order, each with where its bytes come from and what is done to them.
 *
 * Invariant: a plan is plain JSON and self-contained. Publishing needs the plan and the pinned files, nothing else; the same
 * plan always gives the same bytes.
 */
import type { JsonObject } from '../errors.ts';
import type { PinnedFile } from './byte-source.ts';
import type { Dtype } from './dtype.ts';
import type { Attachment, Storage, Tensor } from './header.ts';
import type { ValueTree } from './value.ts';

export interface PlannedTensor {
  readonly name: string;
  /** As published; differs from `origin.dtype` where it is cast. */
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Its bytes; `origin.storage` indexes `Plan.storages`. */
  readonly origin: Tensor;
}

/** The reason of what a loader that keeps weights only leaves out. */
export const WEIGHTS_ONLY = 'weights only';

/** Something of the source that the published file does not hold, and why. */
export interface LeftOut {
  readonly what: string;
  readonly reason: string;
  readonly details?: JsonObject;
}

export interface Plan {
  readonly files: readonly PinnedFile[];
  readonly storages: readonly Storage[];
  /** In the source's order; a container may write them in its own. */
  readonly tensors: readonly PlannedTensor[];
  /**
   * Training state that goes along: a dict of everything the source keeps beside the weights, under the source's own keys. Its
   * `tensor` nodes index `stateTensors`.
   */
  readonly trainingState?: ValueTree;
  /** Tensors of the training state, named by their path in it. One may be `unsupported`: a format then leaves it out. */
  readonly stateTensors?: readonly PlannedTensor[];
  /** Attributes of the state dict itself, as `_metadata` with the versions of a module's parts: a dict. Holds no tensor. */
  readonly stateDictAttributes?: ValueTree;
  /** Members of the source's archive that an archive carries along; `storage` indexes `storages`. */
  readonly attachments?: readonly Attachment[];
  /** Names of parameters to be frozen by whoever loads the file. */
  readonly frozen: readonly string[];
  /** Tensors of the state dict that are not published. */
  readonly skipped: readonly LeftOut[];
  /** Other content of the source that is not published. */
  readonly dropped: readonly LeftOut[];
  /** String metadata for the published file, beside its frozen names. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Complete lists of what a run's metadata only counts and samples; the manifest takes them over. */
  readonly record?: JsonObject;
}

/** Key of a published file's string metadata: a JSON list of parameter names. */
export const FROZEN_KEY = 'frozen_parameters';

/** The published file's own metadata, with the frozen names for whoever loads it. */
export function publishedMetadata({ metadata, frozen }: Plan): Plan['metadata'] {
  return frozen.length === 0 ? metadata : { ...metadata, [FROZEN_KEY]: JSON.stringify(frozen) };
}
