/**
 * Files on web servers as byte sources: by ranges where the server keeps its word, else by way of the cache.
 *
 * Pinned by a strong entity tag, or the time of the last change where there is none; a server without ranges, or without either,
 * is read once into the cache, and the file is pinned by the SHA-256 of what came.
 */
import { CheckpointConfigError, CheckpointSourceError, CheckpointTimeoutError, type CheckpointError } from '../../errors.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { checkUrl } from '../locations/credentials.ts';
import { checkWithin, readRange, watched, type RangedFile, type Watch } from '../range-read.ts';
import { retrying, type RetryPolicy } from '../retry.ts';
import { CHANGED, STALLED, StoreFault, tlsText, waitText } from '../store-fault.ts';
import { lengthOf, scatter } from '../wire/scatter.ts';
import { checkSize, ifRange, isPlain, modifiedOf, packedFault, rangeFault, statusFault, tagOf, validatorOf } from './answer.ts';
import type { HttpClient } from './client.ts';
import type { SpoolCache, Spooled } from './spool-cache.ts';
import { fileKey, spool } from './spool.ts';

/** Bytes of the first request, kept for the reads of the header. */
const FIRST = 64 * 1024;
const SPOOLED = 'sha256=';

export interface HttpPlace {
  readonly client: HttpClient;
  readonly cache: SpoolCache;
  readonly policy: RetryPolicy;
  /** Bytes of the largest file that is taken; default: any. */
  readonly most?: number | undefined;
}

/** The file as it is now. */
export async function openHttp(place: HttpPlace, text: string, signal?: AbortSignal): Promise<ByteSource> {
  const uri = checkUrl(text);
  try {
    const found = await retrying(place.policy, signal, () => watched(place.policy.stallMs, signal, (watch) => probe(place, uri, watch)));
    if (found.kind === 'ranges') checkSize(found.size, place.most);
    if (found.kind === 'ranges') return rangedSource(place, { uri, size: found.size, identity: found.identity }, found.head);
    return spooledSource(uri, await spool(place, uri, signal));
  } catch (error) {
    throw explainHttp(error, uri, place.policy);
  }
}

/** The version that was pinned: nothing is asked yet of a server with ranges. */
export async function openPinnedHttp(place: HttpPlace, file: PinnedFile, signal?: AbortSignal): Promise<ByteSource> {
  const uri = checkUrl(file.uri);
  if (!file.identity.startsWith(SPOOLED)) return rangedSource(place, file);
  const sha256 = file.identity.slice(SPOOLED.length);
  try {
    const spooled = (await place.cache.open(sha256)) ?? (await spool(place, uri, signal));
    if (spooled.sha256 === sha256) return spooledSource(uri, spooled);
    await spooled.handle.close();
    throw new StoreFault(`its SHA-256 is ${spooled.sha256}, expected ${sha256}`, { code: CHANGED, retryable: false });
  } catch (error) {
    throw explainHttp(error, uri, place.policy);
  }
}

/** Removes what broken-off transfers of the file have left for one that will not come. */
export function forgetHttp({ cache }: HttpPlace, text: string): Promise<void> {
  return cache.forget(fileKey(checkUrl(text)));
}

/** The SHA-256 of the whole file, where it is known without reading it. */
export function sha256OfHttp({ identity }: PinnedFile): string | null {
  return identity.startsWith(SPOOLED) ? identity.slice(SPOOLED.length) : null;
}

type Probed =
  | { readonly kind: 'ranges'; readonly size: number; readonly identity: string; readonly head: Uint8Array }
  | { readonly kind: 'whole' };

/** One request tells whether there are ranges and something to pin by, and brings the first bytes. */
async function probe({ client }: HttpPlace, uri: string, watch: Watch): Promise<Probed> {
  const { message, body } = await client.getRange(uri, { range: `bytes=0-${FIRST - 1}` }, watch.signal);
  try {
    const status = message.statusCode ?? 0;
    if (status !== 206 && status !== 200 && status !== 416) throw statusFault(message);
    const total = /^bytes 0-(\d+)\/(\d+)$/.exec(message.headers['content-range'] ?? '');
    const identity = validatorOf(message);
    if (status !== 206 || total === null || identity === null || !isPlain(message)) return { kind: 'whole' };
    const size = Number(total[2]);
    const length = Number(total[1]) + 1;
    if (!Number.isSafeInteger(size) || length !== Math.min(FIRST, size)) return { kind: 'whole' };
    const head = new Uint8Array(length);
    const target = scatter([head]);
    await body.into(target, (count) => watch.progress(count));
    if (target.left > 0)
      throw new StoreFault(`the body ended after ${length - target.left} of ${length} bytes`, { code: 'BodyTooShort', retryable: true });
    return { kind: 'ranges', size, identity, head };
  } finally {
    body.destroy();
  }
}

function rangedSource({ client, policy }: HttpPlace, pinned: PinnedFile, head?: Uint8Array): ByteSource {
  const { uri, size, identity } = pinned;
  const dated = identity.startsWith('modified=');
  const file: RangedFile = {
    uri,
    size,
    etag: identity,
    // A 206 that heeds If-Range repeats the entity tag (RFC 9110, 15.3.7), and need not repeat the time of the last change.
    mayOmitTag: (status) => dated && status === 206,
    async request(offset, length, signal) {
      const range = `bytes=${offset}-${offset + length - 1}`;
      const { message, body } = await client.getRange(uri, { range, 'if-range': ifRange(identity) }, signal);
      const status = message.statusCode ?? 0;
      if ((status !== 206 && status !== 200) || !isPlain(message)) {
        body.destroy();
        throw isPlain(message) ? rangeFault(message) : packedFault(message);
      }
      return {
        status,
        contentRange: message.headers['content-range'] ?? null,
        etag: dated ? modifiedOf(message) : tagOf(message),
        body,
      };
    },
  };

  async function readEach(offset: number, targets: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    const length = lengthOf(targets);
    checkWithin(file, offset, length);
    if (head !== undefined && offset + length <= head.length) return scatter(targets).take(head.subarray(offset, offset + length));
    try {
      await readRange(file, offset, targets, policy, signal);
    } catch (error) {
      throw explainHttp(error, uri, policy);
    }
  }
  const readInto = (offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> => readEach(offset, [target], signal);
  return {
    ...pinned,
    readEach,
    readInto,
    read: (offset, length, signal) => readBy(file, readInto, offset, length, signal),
    close: async () => undefined,
  };
}

function spooledSource(uri: string, { handle, size, sha256 }: Spooled): ByteSource {
  const pinned = { uri, size, identity: `${SPOOLED}${sha256}` };
  async function readInto(offset: number, target: Uint8Array): Promise<void> {
    checkWithin(pinned, offset, target.length);
    for (let done = 0; done < target.length;) {
      const { bytesRead } = await handle.read(target, done, target.length - done, offset + done);
      if (bytesRead === 0) throw new CheckpointSourceError(`The cached copy of ${uri} was cut short. Run the pipeline again.`, uri);
      done += bytesRead;
    }
  }
  return { ...pinned, readInto, read: (offset, length) => readBy(pinned, readInto, offset, length), close: () => handle.close() };
}

async function readBy(
  file: { readonly uri: string; readonly size: number },
  readInto: ByteSource['readInto'],
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  checkWithin(file, offset, length);
  const bytes = new Uint8Array(length);
  await readInto(offset, bytes, signal);
  return bytes;
}

function explainHttp(error: unknown, uri: string, policy: RetryPolicy): CheckpointError | unknown {
  if (!(error instanceof StoreFault)) return error;
  const { code, status, message, retryable, attempts } = error;
  const details = { code, ...(status === null ? {} : { status }), attempts };
  if (code === CHANGED)
    return new CheckpointSourceError(
      `${uri} changed since it was pinned: ${message}. Run the pipeline again when nothing writes to it.`,
      uri,
      {
        retryable: false,
        details,
      },
    );
  if (code === STALLED)
    return new CheckpointTimeoutError(
      `Reading ${uri} stalled: ${message}${attempts === 1 ? '' : `, after ${attempts} tries`}. Look at the server and the network between.`,
      `reading ${uri}`,
      policy.stallMs / 1000,
      { cause: error, details: { ...details, url: uri } },
    );
  if (code === 'PrivateAddress')
    return new CheckpointConfigError(`${uri}: ${message}.`, undefined, { details: { ...details, reason: 'outside_fence' } });
  const tries = attempts > 1 ? ` after ${attempts} tries` : '';
  const answer = status === null ? code : `${status}`;
  const advice =
    status === 401 || status === 403
      ? ' The worker sends no credentials over HTTP: the file must be public.'
      : status === 404 || status === 410
        ? ' There is no such file; check the URL.'
        : '';
  return new CheckpointSourceError(
    `Reading ${uri} failed${tries} with ${answer}: ${message}.${advice}${waitText(error)}${tlsText(error)}`,
    uri,
    {
      cause: error,
      retryable,
      details,
      ...(!retryable || error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    },
  );
}
