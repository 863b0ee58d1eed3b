/** An archive of `torch.save` inside another file → what it holds, with places that count from the file's start. */
import { CheckpointLoadError } from '../../errors.ts';
import { partOf, type ByteSource } from '../../model/byte-source.ts';
import type { Dtype } from '../../model/dtype.ts';
import type { EmbeddedArchive, Storage, Tensor } from '../../model/header.ts';
import { refuseDangerousPickle } from '../pickle/refuse-pickle.ts';
import { readTorchObject, type TorchObject } from '../torch/read-zip.ts';
import { readArchive } from '../zip/archive.ts';

/** Bytes that are read at once of an embedded archive; smaller ones are read whole. */
const WINDOW = 128 * 1024;

/** Reads an embedded archive of any object. `file` becomes the storages' file. */
export async function readArchived(source: ByteSource, place: EmbeddedArchive, file: number): Promise<TorchObject> {
  const { offset, stored } = place;
  if (offset + stored > source.size)
    throw new CheckpointLoadError(
      `${source.uri} should hold ${stored} bytes at ${offset}, but ends at ${source.size}: it is truncated.`,
      source.uri,
    );
  const part = await ends(partOf(source, offset, stored));
  const archive = await readArchive(part).catch(async (error: unknown) => {
    await refuseDangerousPickle(part);
    throw error;
  });
  const object = await readTorchObject(part, archive);
  const storages = object.storages.map((storage): Storage => {
    const { location } = storage;
    return location.kind === 'member'
      ? { ...storage, file, location: { ...location, header: location.header + offset, end: location.end + offset } }
      : { ...storage, file };
  });
  return { ...object, storages };
}

/** The one tensor of an embedded archive, which must be what the checkpoint's index says of it. */
export async function readArchivedTensor(
  source: ByteSource,
  place: EmbeddedArchive,
  expected: { readonly dtype: Dtype; readonly shape: readonly number[] },
): Promise<{ readonly storage: Storage; readonly tensor: Tensor }> {
  const { tree, storages, tensors } = await readArchived(source, place, 0);
  const root = tree.nodes[tree.root];
  const tensor = typeof root === 'object' && root?.kind === 'tensor' ? tensors[root.tensor] : undefined;
  const storage = tensor === undefined ? undefined : storages[tensor.storage];
  const wanted = `${expected.dtype} [${expected.shape.join(', ')}]`;
  const found = tensor === undefined ? 'no tensor' : (tensor.unsupported ?? `${tensor.dtype} [${tensor.shape.join(', ')}]`);
  if (tensor === undefined || storage === undefined || found !== wanted)
    throw new CheckpointLoadError(
      `${source.uri}: the archive at ${place.offset} holds ${found}, the checkpoint's index says ${wanted}. The files are not of one checkpoint.`,
      source.uri,
      { details: { position: place.offset } },
    );
  return { storage, tensor };
}

/** The part with its first and last bytes in memory: all that an archive of one tensor is asked for. */
async function ends(part: ByteSource): Promise<ByteSource> {
  const head = await part.read(0, Math.min(part.size, WINDOW));
  const tailAt = Math.max(head.length, part.size - WINDOW);
  const tail = tailAt < part.size ? await part.read(tailAt, part.size - tailAt) : new Uint8Array(0);
  return {
    ...part,
    async read(offset, length, signal) {
      if (offset >= 0 && length >= 0 && offset + length <= head.length) return head.slice(offset, offset + length);
      if (offset >= tailAt && offset + length <= part.size) return tail.slice(offset - tailAt, offset - tailAt + length);
      return part.read(offset, length, signal);
    },
  };
}
