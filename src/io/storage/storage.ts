/** All the places that a process can reach, by its settings: made once in `src/app` and handed on. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointConfigError } from '../../errors.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { isHttp, isLocal } from '../../model/scheme.ts';
import { createHttpClient } from '../http/client.ts';
import { forgetHttp, openHttp, openPinnedHttp, sha256OfHttp, type HttpPlace } from '../http/source.ts';
import { createSpoolCache } from '../http/spool-cache.ts';
import { localPath, openLocalFile, openPinned } from '../local/local-file.ts';
import { partMemory, type PartMemory } from '../part-memory.ts';
import { RETRY, type RetryPolicy } from '../retry.ts';
import { isS3, parseS3, parseS3Prefix, parseS3Source } from '../s3/location.ts';
import type { S3Port } from '../s3/port.ts';
import { openPinnedS3, openS3, sha256OfS3 } from '../s3/source.ts';
import { checkBucket, localFence, type LocalFence } from './fence.ts';
import { NO_SETTINGS, profileOf, type S3Profile, type StorageSettings } from './settings.ts';

/** Bytes of parts that a process holds on their way to stores. */
const UPLOAD_MEMORY = 256 * 2 ** 20;

/** Milliseconds that a timer can wait for. */
const LONGEST_TIMER = 2 ** 31 - 1;

export interface Storage {
  readonly settings: StorageSettings;
  readonly policy: RetryPolicy;
  readonly fence: LocalFence;
  /** Refuses a place outside the fence, whether to read, to publish or for a workspace. */
  check(uri: string): Promise<void>;
  /**
   * Opens the file at a path or URI as it is now. Throws `CheckpointConfigError` for an unknown scheme. For HTTP alone: `stall`, seconds without
   * progress after which to give up (default: as the policy has it), and `most`, bytes of the largest file that is accepted.
   */
  open(uri: string, signal?: AbortSignal, stall?: number, most?: number): Promise<ByteSource>;
  /** The version that was pinned, or a `CheckpointSourceError`. */
  openPinned(file: PinnedFile, signal?: AbortSignal): Promise<ByteSource>;
  /** Removes what broken-off attempts to open the file have left, as none follows. */
  forget(uri: string): Promise<void>;
  /** SHA-256 of the whole pinned file, in hex, where its store has it; else null. */
  sha256(file: PinnedFile, signal?: AbortSignal): Promise<string | null>;
  /** True where two s3:// URIs lie in stores under one profile, so that the store can copy between them. */
  sameStore(a: string, b: string): boolean;
  /** Memory for parts on their way to stores, of all transfers together. */
  readonly memory: PartMemory;
  /** The store that holds a bucket, once the fence lets this key, or everything under it, through. */
  s3(uri: string): Promise<S3Port>;
  close(): void;
}

export interface StorageOptions {
  /** Where copies of files from servers without ranges go, unless the settings say. */
  readonly cacheFolder?: string;
  readonly settings?: StorageSettings;
  readonly policy?: RetryPolicy;
  /** Bytes of parts on their way to stores. */
  readonly uploads?: number;
}

export function createStorage({
  settings = NO_SETTINGS,
  policy = RETRY,
  cacheFolder,
  uploads = UPLOAD_MEMORY,
}: StorageOptions = {}): Storage {
  const ports = new Map<S3Profile | null, Promise<S3Port>>();
  const fence = localFence(settings.allow.roots);
  const http: HttpPlace = {
    client: createHttpClient({ allowPrivate: settings.allow.private_addresses ?? true }),
    cache: createSpoolCache(
      settings.http.cache_dir ?? cacheFolder ?? join(tmpdir(), 'checkpoint-pipeline-http'),
      settings.http.cache_bytes,
    ),
    policy,
  };

  async function s3(uri: string): Promise<S3Port> {
    const { bucket, key } = parseS3Prefix(uri);
    checkBucket(settings.allow, bucket, key);
    const profile = profileOf(settings, bucket);
    const known = ports.get(profile);
    if (known !== undefined) return known;
    // The SDK takes a while to load: only who opens an s3:// URI waits for it.
    const made = import('../s3/aws/connect.ts').then(({ connectS3 }) => connectS3(profile));
    ports.set(profile, made);
    made.catch(() => ports.delete(profile));
    return made;
  }

  return {
    settings,
    policy,
    fence,
    s3,
    memory: partMemory(uploads),
    sameStore(a, b) {
      if (!isS3(a) || !isS3(b)) return false;
      return profileOf(settings, parseS3(a).bucket) === profileOf(settings, parseS3(b).bucket);
    },
    async check(uri) {
      if (isLocal(uri)) return fence.checkPath(localPath(uri));
      refuseUnwritable(uri);
      const { bucket, key } = parseS3Source(uri);
      checkBucket(settings.allow, bucket, key);
    },
    async open(uri, signal, stall, most) {
      if (isLocal(uri)) return openLocalFile(uri, fence);
      if (isS3(uri)) return openS3(await s3(uri), uri, policy, signal);
      if (isHttp(uri)) return openHttp({ ...http, policy: impatient(policy, stall), most }, uri, signal);
      throw unknownScheme(uri);
    },
    async openPinned(file, signal) {
      if (isLocal(file.uri)) return openPinned(file, fence);
      if (isS3(file.uri)) return openPinnedS3(await s3(file.uri), file, policy);
      if (isHttp(file.uri)) return openPinnedHttp(http, file, signal);
      throw unknownScheme(file.uri);
    },
    async forget(uri) {
      if (isHttp(uri)) await forgetHttp(http, uri);
    },
    async sha256(file, signal) {
      if (isHttp(file.uri)) return sha256OfHttp(file);
      return isS3(file.uri) ? sha256OfS3(await s3(file.uri), file, policy, signal) : null;
    },
    close() {
      http.client.close();
      for (const port of ports.values()) void port.then((open) => open.close()).catch(() => undefined);
      ports.clear();
    },
  };
}

/** Throws `CheckpointConfigError` where no file can be published: by a scheme that nothing is written by, as HTTP, and to a folder. */
export function checkOutput(uri: string): void {
  refuseUnwritable(uri);
  if (uri.endsWith('/')) throw new CheckpointConfigError(`${uri} names a folder; say the file, such as ${uri}weights.safetensors.`);
}

function refuseUnwritable(uri: string): void {
  if (!isLocal(uri) && !isS3(uri)) throw new CheckpointConfigError(`${uri}: only a local path, file:// and s3:// can be written to.`);
}

/** The user's word replaces ours, and what has waited for so long is not asked again: that is for the next attempt of the stage. */
function impatient(policy: RetryPolicy, stall: number | undefined): RetryPolicy {
  return stall === undefined ? policy : { ...policy, stallMs: Math.min(stall * 1000, LONGEST_TIMER), stallTries: 1 };
}

function unknownScheme(uri: string): CheckpointConfigError {
  const scheme = uri.slice(0, uri.indexOf('://'));
  return new CheckpointConfigError(
    `${uri}: the scheme ${scheme}:// is not supported. Supported: a local path, file://, s3://, http://, https://.`,
  );
}
