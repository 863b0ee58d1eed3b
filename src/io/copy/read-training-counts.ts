/** Epoch and step where a training kept them as tensors of one number: their few bytes are read, the header says the rest. */
import { isCheckpointError } from '../../errors.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { countTensor, type Count } from '../../model/training-counts.ts';
import type { Header, Storage } from '../../model/header.ts';
import { readScalar } from './read-scalar.ts';

/** Bytes that are inflated, or looked through in an archive of their own, for the few that are wanted. */
const INSIDE_MAX = 64 * 1024;

/** The header with what they say; as it is where they are none, no whole numbers, part of what is large and deflated, or damaged, which is told where they are copied. */
export async function withCounts(header: Header, open: (file: PinnedFile) => Promise<ByteSource>, signal: AbortSignal): Promise<Header> {
  const read = async (count: Count): Promise<number | null> => {
    const tensor = countTensor(header, count);
    if (tensor === undefined || !isNear(header.storages[tensor.storage]!)) return header.training[count];
    try {
      const value = await readScalar(tensor, header, open, signal);
      return Number.isSafeInteger(value) ? value : null;
    } catch (error) {
      if (signal.aborted || !isCheckpointError(error) || error.retryable) throw error;
      return null;
    }
  };
  const training = { ...header.training, epoch: await read('epoch'), global_step: await read('global_step') };
  return { ...header, training };
}

function isNear({ location, length }: Storage): boolean {
  if (location.kind === 'range' || (location.kind === 'member' && location.method === 'stored')) return true;
  return length <= INSIDE_MAX && (location.kind !== 'archive' || location.stored <= INSIDE_MAX);
}
