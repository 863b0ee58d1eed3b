/**
 * What we need of an S3 store, without the AWS SDK: an adapter fills it, and everything else depends on this file alone.
 *
 * Invariant: every function rejects with a `StoreFault`, or with the signal's reason; none tries twice.
 */
import type { RangeAnswer } from '../range-read.ts';

export interface S3Object {
  readonly bucket: string;
  readonly key: string;
  readonly versionId: string | null;
}

export interface S3Head {
  readonly size: number;
  readonly etag: string;
  /** Null in a bucket that keeps no versions. */
  readonly versionId: string | null;
  /** In hex, of the whole object; null where the store has none, or one of parts only. */
  readonly sha256: string | null;
}

export interface S3Port {
  /** For messages: never a credential. */
  describe(bucket: string): Promise<S3Place>;
  /** `checksum` asks for the store's own, which takes more permissions where objects are encrypted. */
  head(object: S3Object, options: { readonly checksum: boolean }, signal?: AbortSignal): Promise<S3Head>;
  /** A range of the object, on condition that its entity tag is `etag`. */
  get(object: S3Object, etag: string | null, offset: number, length: number, signal: AbortSignal): Promise<RangeAnswer>;
  /** Keys that begin with `prefix` and have no further slash, in order, at most a thousand. */
  list(bucket: string, prefix: string, signal?: AbortSignal): Promise<readonly string[]>;
  close(): void;
}

export interface S3Place {
  readonly region: string;
  /** Null: AWS itself. */
  readonly endpoint: string | null;
  /** In words: whose credentials are used. */
  readonly credentials: string;
}
