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
  /** The mark that `Written` left. */
  readonly mark: string | null;
  /** In hex, of the whole object; null where the store has none, or one of parts only. */
  readonly sha256: string | null;
}

/** An object to be written. */
export interface S3Target {
  readonly bucket: string;
  readonly key: string;
}

/** On which condition an object may be written: whatever is there, only what has this entity tag, or only where nothing is. */
export type WriteCondition = { readonly kind: 'any' } | { readonly kind: 'match'; readonly etag: string } | { readonly kind: 'none' };

export interface S3Part {
  readonly number: number;
  readonly size: number;
  readonly etag: string;
  /** In base64; null where the store keeps none. */
  readonly crc32: string | null;
}

/**
 * The checksum that goes with a part, for the store to compare. CRC-32 is what the store then keeps and tells; MD5, where it copies
 * parts itself: not every store has a CRC-32 of those, and one that was promised it refuses the whole.
 */
export type PartSums = 'crc32' | 'md5';

export interface PartSum {
  readonly kind: PartSums;
  readonly base64: string;
}

/** Faults of `list` that mean: there is more than what can be listed. */
export const LISTING_CUT = 'ListingCut';

export interface S3Page {
  readonly objects: readonly S3Listed[];
  /** Null: it was the last page. */
  readonly next: string | null;
}

export interface S3Listed {
  readonly key: string;
  readonly size: number;
  /** Of the last write, in milliseconds since the epoch. */
  readonly modified: number;
}

export interface S3Upload {
  readonly id: string;
  /** In milliseconds since the epoch. */
  readonly initiated: number;
}

export interface S3Port {
  /** For messages: never a credential. */
  describe(bucket: string): Promise<S3Place>;
  /** `checksum` asks for the store's own, which takes more permissions where objects are encrypted. */
  head(object: S3Object, options: { readonly checksum: boolean }, signal?: AbortSignal): Promise<S3Head>;
  /** A range of the object, on condition that its entity tag is `etag`. */
  get(object: S3Object, etag: string | null, offset: number, length: number, signal: AbortSignal): Promise<RangeAnswer>;
  /** One page of the objects under a prefix, in order; `flat`: of those alone whose keys have no further slash. `from` is the `next` of the page before. */
  list(
    bucket: string,
    prefix: string,
    page: { readonly flat: boolean; readonly from: string | null },
    signal?: AbortSignal,
  ): Promise<S3Page>;
  /** Writes a whole object; `mark` is kept beside it and shows in `head`. Gives its entity tag. */
  put(
    target: S3Target,
    body: Uint8Array,
    about: { readonly mark: string; readonly condition: WriteCondition },
    signal?: AbortSignal,
  ): Promise<string>;
  /** `sums` says which checksum its parts will come with. Gives its id. */
  createUpload(target: S3Target, about: { readonly mark: string; readonly sums: PartSums }, signal?: AbortSignal): Promise<string>;
  uploadPart(target: S3Target, upload: string, number: number, body: Uint8Array, sum: PartSum, signal: AbortSignal): Promise<S3Part>;
  /** Makes a part of a range of another object of the same store, on condition of its entity tag. */
  copyPart(
    target: S3Target,
    upload: string,
    number: number,
    from: { readonly object: S3Object; readonly etag: string; readonly offset: number; readonly length: number },
    signal: AbortSignal,
  ): Promise<S3Part>;
  listParts(target: S3Target, upload: string, signal?: AbortSignal): Promise<readonly S3Part[]>;
  /** Gives the entity tag. */
  completeUpload(
    target: S3Target,
    upload: string,
    parts: readonly S3Part[],
    condition: WriteCondition,
    signal?: AbortSignal,
  ): Promise<string>;
  abortUpload(target: S3Target, upload: string, signal?: AbortSignal): Promise<void>;
  /** Open uploads to exactly this key. */
  listUploads(target: S3Target, signal?: AbortSignal): Promise<readonly S3Upload[]>;
  remove(target: S3Target, signal?: AbortSignal): Promise<void>;
  close(): void;
}

export interface S3Place {
  readonly region: string;
  /** Null: AWS itself. */
  readonly endpoint: string | null;
  /** In words: whose credentials are used. */
  readonly credentials: string;
  /** Of the AWS configuration, that they are looked for in; null: the settings name none. */
  readonly profile: string | null;
}
