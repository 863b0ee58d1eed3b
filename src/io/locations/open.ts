/** One door for every place a checkpoint can lie in, for who reads its header. */
import { windowed, type CountedSource } from '../caching-source.ts';
import { createStorage, type Storage } from '../storage/storage.ts';
import { checkpointFile } from './siblings.ts';

/**
 * Opens a path or URI, or the file that stands for a folder, for reading a header; an unknown scheme is a `CheckpointConfigError` listing
 * the known ones. Without a `storage`, the AWS SDK's own variables decide how a store is reached, and no fence stands.
 */
export async function openSource(
  uri: string,
  storage: Storage = createStorage(),
  signal?: AbortSignal,
  stall?: number,
): Promise<CountedSource> {
  const { uri: file, set } = await checkpointFile(uri, storage, signal);
  const source = windowed(await storage.open(file, signal, stall));
  return set === undefined ? source : { ...source, set };
}
