/** One door for every place a checkpoint can lie in. */
import { CheckpointConfigError } from '../errors.ts';
import { windowed, type CountedSource } from './caching-source.ts';
import { openLocalFile } from './local-file.ts';
import { checkpointFile } from './siblings.ts';

/** Opens a path or URI, or the file that stands for a folder, for reading a header; an unknown scheme is a `CheckpointConfigError` listing the known ones. */
export async function openSource(uri: string): Promise<CountedSource> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(uri)?.[1]?.toLowerCase();
  if (scheme === undefined || scheme === 'file') return windowed(await openLocalFile(await checkpointFile(uri)));
  throw new CheckpointConfigError(`${uri}: the scheme ${scheme}:// is not supported. Supported: a local path, file://.`);
}
