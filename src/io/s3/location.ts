/** `s3://bucket/key`: the key is taken as it is written, with no escapes, as the AWS command line does. */
import { CheckpointConfigError } from '../../errors.ts';
import { asShown, hasUserInfo } from '../locations/credentials.ts';

export interface S3Location {
  readonly bucket: string;
  readonly key: string;
  /** From `?versionId=…` at the end; else null. */
  readonly versionId: string | null;
}

/** Bytes of a key in UTF-8, as S3 says. */
const KEY_MOST = 1024;
/** Bytes that the longest name beside an output has more than its own. */
const BESIDE = 32;

export function isS3(uri: string): boolean {
  return /^s3:\/\//i.test(uri);
}

/** The parts of an `s3://` URI; one that names no object, or not one clearly, is a `CheckpointConfigError`. */
export function parseS3(uri: string): S3Location {
  const location = parseS3Prefix(uri);
  if (location.key === '') throw wrong(uri, 'it names a bucket, and no object in it');
  return location;
}

/** Where an output goes, which gets its version when it is there; what stands beside it (manifest, report, marker of the upload) has longer names. */
export function parseS3Output(uri: string): S3Location {
  const location = parseS3(uri);
  if (location.versionId !== null) throw wrong(uri, 'it names a version, which an output gets from its store');
  const bytes = Buffer.byteLength(location.key);
  if (bytes > KEY_MOST - BESIDE)
    throw wrong(
      `${uri.slice(0, 80)}…`,
      `its key is ${bytes} bytes long; of an output at most ${KEY_MOST - BESIDE} are allowed, as its manifest and its report stand beside it`,
    );
  return location;
}

/** Of a checkpoint that is to be read: an object, or what lies under a prefix that ends with a slash. */
export function parseS3Source(uri: string): S3Location {
  return uri.endsWith('/') ? parseS3Prefix(uri) : parseS3(uri);
}

/** The same where many objects are meant: without a key, all of a bucket. */
export function parseS3Prefix(uri: string): S3Location {
  const parts = /^s3:\/\/([^/]*)\/?(.*)$/is.exec(uri);
  const bucket = parts?.[1] ?? '';
  const rest = parts?.[2] ?? '';
  const version = /^(.*)\?versionId=([^?&#]+)$/s.exec(rest);
  const key = version?.[1] ?? rest;
  if (hasUserInfo(uri)) throw wrong(asShown(uri), "credentials do not belong into a URI; they are the worker's settings");
  // Buckets made before 2018 may hold capitals and underscores; other stores allow them still.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket)) throw wrong(uri, `\`${bucket}\` is not the name of a bucket`);
  if (Buffer.byteLength(key) > KEY_MOST)
    throw wrong(`${uri.slice(0, 80)}…`, `its key is ${Buffer.byteLength(key)} bytes long, at most ${KEY_MOST} are allowed`);
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(key)) throw wrong(JSON.stringify(uri), 'its key holds control characters');
  // Stores and proxies disagree on what they mean; a fence around a prefix must not.
  if (key.split('/').some((part) => part === '.' || part === '..')) throw wrong(uri, 'its key has a part `.` or `..`');
  return { bucket, key, versionId: version?.[2] ?? null };
}

/** Without the version, which is part of what pins it. */
export function s3Uri({ bucket, key }: Pick<S3Location, 'bucket' | 'key'>): string {
  return `s3://${bucket}/${key}`;
}

function wrong(uri: string, why: string): CheckpointConfigError {
  return new CheckpointConfigError(`${uri}: ${why}. Expected s3://bucket/key.`);
}
