/** A tensor as torch writes it: a call that rebuilds it over a storage, which a persistent id names. */
import { CheckpointIncompatibleError } from '../../errors.ts';
import { MAX_DIMENSIONS } from '../limits-pickle.ts';
import type { PickleOutput } from './output.ts';

/** Items of a persistent id; arguments of a tensor, without its dtype. */
const PERSISTENT_ID = 5;
const ARGUMENTS = 6;

/** How a tensor stands in the pickle. */
export interface PickledTensor {
  /** Name of its storage's member under `data/`. */
  readonly key: string;
  /** `FloatStorage` …; null: an untyped storage, and the dtype beside it. */
  readonly storageClass: string | null;
  /** Elements of the storage; bytes of an untyped one. */
  readonly numel: number;
  /** torch's name of the dtype. */
  readonly dtype: string;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  readonly requiresGrad: boolean;
  readonly parameter: boolean;
}

/** `where` names it in an error. */
export function writeTensor(out: PickleOutput, given: PickledTensor, where: () => string): void {
  const { storageClass, shape, requiresGrad, parameter } = given;
  if (shape.length > MAX_DIMENSIONS) throw tooManyDimensions(where(), shape.length);
  if (parameter) out.global('torch._utils', '_rebuild_parameter');
  out.global('torch._utils', storageClass === null ? '_rebuild_tensor_v3' : '_rebuild_tensor_v2');
  // Of the arguments, and of the persistent id in them.
  out.mark();
  out.mark();
  out.text('storage', true);
  if (storageClass === null) out.global('torch.storage', 'UntypedStorage');
  else out.global('torch', storageClass);
  out.text(given.key, false);
  out.text('cpu', true);
  out.integer(given.numel);
  out.tuple(PERSISTENT_ID);
  out.persistent();
  out.integer(given.offset);
  out.integers(shape);
  out.integers(given.stride);
  out.boolean(requiresGrad && !parameter);
  noHooks(out);
  if (storageClass === null) out.global('torch', given.dtype);
  out.tuple(storageClass === null ? ARGUMENTS + 1 : ARGUMENTS);
  out.call();
  if (!parameter) return;
  out.boolean(requiresGrad);
  noHooks(out);
  out.tuple(3);
  out.call();
}

function noHooks(out: PickleOutput): void {
  out.callEmpty('collections', 'OrderedDict');
}

function tooManyDimensions(tensor: string, dimensions: number): CheckpointIncompatibleError {
  return new CheckpointIncompatibleError(
    `${tensor} has ${dimensions} dimensions; torch allows ${MAX_DIMENSIONS}. Leave it out, or publish as safetensors.`,
    { details: { reason: 'too_many_dimensions', tensor, dimensions } },
  );
}
