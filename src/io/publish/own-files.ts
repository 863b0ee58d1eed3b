/**
 * Whether what a stage published is still there as it did: another run, or program, may publish to the same place meanwhile.
 *
 * Invariant: a file is known again by what was said of it when it was written, never by what is found there afterwards.
 */
import { CheckpointSourceError } from '../../errors.ts';
import type { Destination, Pinned, Written } from './destination.ts';

/** Throws `CheckpointSourceError` where it is gone, or another has taken its place. */
export async function pinOwn(files: Destination, file: Written): Promise<Pinned> {
  const pinned = await files.pinned(file);
  if (pinned !== null) return pinned;
  const { uri, identity: expected } = file;
  const there = await files.identity(uri);
  if (there === null)
    throw new CheckpointSourceError(`${uri} is gone before its manifest was written. Does something else remove it?`, uri);
  throw new CheckpointSourceError(
    `Another run or program has replaced ${uri} while it was being published (${there.identity}, not ${expected}); theirs was kept. ` +
      'Run the pipeline again, or give each run its own `uri`.',
    uri,
    { retryable: false, details: { reason: 'concurrent_write', expected, got: there.identity } },
  );
}
