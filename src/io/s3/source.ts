/** Objects of an S3 store as byte sources: pinned by entity tag and version when opened, checked at every read. */
import { CheckpointLoadError, isCheckpointError, type CheckpointError } from '../../errors.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { SMALL_MOST } from '../local/local-file.ts';
import { checkWithin, readRange, type RangedFile } from '../range-read.ts';
import { RETRY, type RetryPolicy } from '../retry.ts';
import { CHANGED, StoreFault } from '../store-fault.ts';
import { explainS3 } from './explain.ts';
import { headOrNull, headS3 } from './head.ts';
import { parseS3, s3Uri, type S3Location } from './location.ts';
import { patiently } from './patience.ts';
import type { S3Head, S3Listed, S3Page, S3Port } from './port.ts';

const VERSION = ';version=';

/** What pins an object: its entity tag, and its version where the bucket keeps them. */
export function s3Identity({ etag, versionId }: Pick<S3Head, 'etag' | 'versionId'>): string {
  return versionId === null ? etag : `${etag}${VERSION}${versionId}`;
}

export function parseIdentity(identity: string): { readonly etag: string; readonly versionId: string | null } {
  const at = identity.indexOf(VERSION);
  return at < 0 ? { etag: identity, versionId: null } : { etag: identity.slice(0, at), versionId: identity.slice(at + VERSION.length) };
}

/** The object as it is now, or in the version that the URI names. */
export async function openS3(port: S3Port, uri: string, policy: RetryPolicy, signal?: AbortSignal): Promise<ByteSource> {
  const location = parseS3(uri);
  const head = await openedHead(port, location, { checksum: false }, policy, signal);
  return sourceOf(port, location, { uri: s3Uri(location), size: head.size, identity: s3Identity(head) }, policy);
}

/** The version that was pinned. Asks for nothing yet: every read is on condition of the entity tag. */
export function openPinnedS3(port: S3Port, file: PinnedFile, policy: RetryPolicy): ByteSource {
  return sourceOf(port, parseS3(file.uri), file, policy);
}

async function openedHead(
  port: S3Port,
  location: S3Location,
  options: { readonly checksum: boolean },
  policy: RetryPolicy,
  signal?: AbortSignal,
): Promise<S3Head> {
  try {
    return await headS3(port, location, options, policy, signal);
  } catch (error) {
    throw await explained(error, port, location, policy, signal);
  }
}

/** The text of a small object; null where there is none. Rejects with a `StoreFault`. */
export async function readSmallS3(
  port: S3Port,
  target: { readonly bucket: string; readonly key: string },
  policy: RetryPolicy = RETRY,
  signal?: AbortSignal,
): Promise<string | null> {
  const object = { ...target, versionId: null };
  try {
    const head = await headOrNull(port, target, policy, signal);
    if (head === null) return null;
    const { size, etag } = head;
    if (size > SMALL_MOST)
      throw new StoreFault(`it has ${size} bytes, at most ${SMALL_MOST} were expected`, { code: 'TooLarge', retryable: false });
    const bytes = new Uint8Array(size);
    const file = { uri: s3Uri(target), size, etag };
    await readRange(
      { ...file, request: (offset, length, inner) => port.get(object, etag, offset, length, inner).catch(changedOf) },
      0,
      [bytes],
      policy,
      signal,
    );
    return new TextDecoder().decode(bytes);
  } catch (error) {
    if (error instanceof StoreFault && error.status === 404 && error.code !== 'NoSuchBucket') return null;
    throw error;
  }
}

/** The store's own SHA-256 of the pinned object; null where it has none, or will not tell. */
export async function sha256OfS3(port: S3Port, file: PinnedFile, policy: RetryPolicy, signal?: AbortSignal): Promise<string | null> {
  const { etag, versionId } = parseIdentity(file.identity);
  const head = await openedHead(port, { ...parseS3(file.uri), versionId }, { checksum: true }, policy, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    // Who may read an encrypted object may still not ask for its checksum: then it is read.
    if (isCheckpointError(error) && !error.retryable) return null;
    throw error;
  });
  return head?.etag === etag ? head.sha256 : null;
}

/** Pages of a folder in which one checkpoint is looked for: a hundred thousand names, of which the largest sets have some ten thousand. */
export const FOLDER_PAGES = 100;

interface Listing {
  readonly flat: boolean;
  readonly policy: RetryPolicy;
  readonly signal?: AbortSignal | undefined;
  readonly mostPages?: number;
}

/**
 * All objects whose keys begin with the location's, page by page; `flat`: those alone that have no further slash. A listing that goes
 * on after `mostPages` is a `CheckpointLoadError`.
 */
export async function* objectsUnder(
  port: S3Port,
  location: Pick<S3Location, 'bucket' | 'key'>,
  listing: Listing,
): AsyncGenerator<S3Listed> {
  const { policy, signal } = listing;
  try {
    yield* listed(port, location, listing);
  } catch (error) {
    if (!(error instanceof StoreFault)) throw error;
    throw await explainS3(error, { port, location, doing: 'listing', policy, signal });
  }
}

/** The same; throws what the store says as a `StoreFault`. */
export async function* listed(
  port: S3Port,
  location: Pick<S3Location, 'bucket' | 'key'>,
  { flat, policy, signal, mostPages = Infinity }: Listing,
): AsyncGenerator<S3Listed> {
  const tokens = new Set<string>();
  for (let from: string | null = null; ;) {
    const page: S3Page = await patiently(policy, signal, 0, async (inner) => {
      const { objects, next } = await port.list(location.bucket, location.key, { flat, from }, inner);
      if (next !== null && tokens.has(next))
        throw new StoreFault('the store gives a continuation token a second time, so that its listing would never end', {
          code: 'RepeatedToken',
          retryable: false,
        });
      return { objects, next };
    });
    yield* page.objects;
    from = page.next;
    if (from === null) return;
    if (tokens.add(from).size >= mostPages)
      throw new CheckpointLoadError(
        `${s3Uri(location)}: its listing goes on after ${mostPages} pages, more than one checkpoint has. Name the checkpoint's file.`,
        s3Uri(location),
      );
  }
}

function sourceOf(port: S3Port, location: S3Location, pinned: PinnedFile, policy: RetryPolicy): ByteSource {
  const { uri, size, identity } = pinned;
  const { etag, versionId } = parseIdentity(identity);
  const object = { bucket: location.bucket, key: location.key, versionId };
  const file: RangedFile = {
    uri,
    size,
    etag,
    request: (offset, length, signal) => port.get(object, etag, offset, length, signal).catch(changedOf),
  };

  async function readEach(offset: number, targets: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    try {
      await readRange(file, offset, targets, policy, signal);
    } catch (error) {
      throw await explained(error, port, location, policy, signal);
    }
  }

  return {
    uri,
    size,
    identity,
    readEach,
    readInto: (offset, target, signal) => readEach(offset, [target], signal),
    async read(offset, length, signal) {
      checkWithin(file, offset, length);
      const bytes = new Uint8Array(length);
      await readEach(offset, [bytes], signal);
      return bytes;
    },
    close: async () => undefined,
  };
}

/** Where a range was asked for on condition of the entity tag, some refusals say that this version is not there any more. */
function changedOf(error: unknown): never {
  if (!(error instanceof StoreFault) || (error.status !== 412 && error.status !== 416)) throw error;
  throw new StoreFault(error.message, { code: CHANGED, status: error.status, retryable: false, cause: error });
}

async function explained(
  error: unknown,
  port: S3Port,
  location: S3Location,
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
): Promise<CheckpointError | unknown> {
  if (isCheckpointError(error) || !(error instanceof StoreFault)) return error;
  return explainS3(error, { port, location, doing: 'reading', policy, signal });
}
