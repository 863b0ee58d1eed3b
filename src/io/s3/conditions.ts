/**
 * On which condition an output may be written, and what it means where that does not hold.
 *
 * What we write bears a mark: which stage of which run wrote it, and what. A later attempt knows its own work by it.
 */
import { CheckpointSourceError, type CheckpointError } from '../../errors.ts';
import type { PinnedFile } from '../../model/byte-source.ts';
import { ownSource } from '../publish/own-source.ts';
import { existsError, type Overwrite } from '../publish/overwrite.ts';
import type { RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { headOrNull } from './head.ts';
import { isS3, parseS3, s3Uri } from './location.ts';
import type { S3Head, S3Port, S3Target, WriteCondition } from './port.ts';

/** Characters of the content's digest in a mark: enough to tell one run's outputs apart. */
const DIGEST = 16;

export interface Written {
  readonly port: S3Port;
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal;
  readonly uri: string;
  readonly overwrite: Overwrite;
  /** Marks what this stage of this run writes. */
  readonly token: string;
  /** Digest of all that the bytes follow from. */
  readonly content: string;
}

export function markOf({ token, content }: Pick<Written, 'token' | 'content'>): string {
  return `${token}/${content.slice(0, DIGEST)}`;
}

/** True for what some attempt of the stage with that token wrote. */
export function isOf({ mark }: S3Head, token: string): boolean {
  return mark?.startsWith(`${token}/`) === true;
}

/** Throws where an output would take the place of a file that is read. */
export function checkApart(uri: string, sources: readonly Pick<PinnedFile, 'uri'>[]): void {
  const target = s3Uri(parseS3(uri));
  if (sources.some((file) => isS3(file.uri) && s3Uri(parseS3(file.uri)) === target)) throw ownSource(uri);
}

export function conditionFor({ overwrite, token, uri }: Written, there: S3Head | null): WriteCondition {
  if (there === null) return overwrite === 'always' ? { kind: 'any' } : { kind: 'none' };
  if (overwrite === 'always') return { kind: 'any' };
  // An attempt before this one had got so far, and no further.
  if (overwrite === 'never' && !isOf(there, token)) throw existsError(uri);
  return { kind: 'match', etag: there.etag };
}

/** Writes on a condition, and gives the entity tag; a store that knows none is looked at once more before it is written without. */
export async function conditionally(
  written: Written,
  target: S3Target,
  condition: WriteCondition,
  write: (condition: WriteCondition) => Promise<string>,
): Promise<string> {
  const { port, policy, signal } = written;
  try {
    return await write(condition);
  } catch (error) {
    if (!(error instanceof StoreFault)) throw error;
    if (error.status === 501 && condition.kind !== 'any') {
      const there = await headOrNull(port, target, policy, signal);
      if ((there?.etag ?? null) === (condition.kind === 'match' ? condition.etag : null)) return await write({ kind: 'any' });
    } else if (error.status !== 412 && error.status !== 409 && !(error.status === 404 && error.code === 'NoSuchKey')) throw error;
    // A write of ours whose answer was lost meets its own object.
    const met = await headOrNull(port, target, policy, signal);
    if (met?.mark === markOf(written)) return met.etag;
    // Removed since it was looked at: then only nothing is replaced.
    if (met === null && condition.kind === 'match') return conditionally(written, target, { kind: 'none' }, write);
    throw notWritten(written, condition, error, met);
  }
}

/** Why a condition did not hold, from what is there afterwards. */
function notWritten({ uri, overwrite }: Written, condition: WriteCondition, cause: StoreFault, met: S3Head | null): CheckpointError {
  const isAsItWas = met === null || condition.kind === 'any' || (condition.kind === 'match' && condition.etag === met.etag);
  if (cause.status === 409 && isAsItWas)
    return new CheckpointSourceError(
      `The store reports a conflict at ${uri} (${cause.code}), and nothing has been written there. Does something else write or remove it at the same time?`,
      uri,
      { cause },
    );
  if (met === null)
    return new CheckpointSourceError(`${uri} was removed while it was being published. Does something else remove it?`, uri, { cause });
  if (overwrite === 'never') return existsError(uri);
  return new CheckpointSourceError(
    `Another run or program has written ${uri} while it was being published; theirs was kept. Run the pipeline again, or give each run its own \`uri\`.`,
    uri,
    { retryable: false, cause, details: { reason: 'concurrent_write' } },
  );
}
