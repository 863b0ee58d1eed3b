/** What an answer of status 200 is, by its XML: stores begin long work with that status, and proxies send their pages with it. */
import { oneLine, StoreFault } from '../../store-fault.ts';

/** With which element the answers begin that would else be taken for an empty list. */
const LISTS: Readonly<Record<string, string>> = {
  ListObjectsV2Command: 'ListBucketResult',
  ListPartsCommand: 'ListPartsResult',
  ListMultipartUploadsCommand: 'ListMultipartUploadsResult',
};

/** The statuses that S3 gives these codes where it knows the outcome before it answers; others are tried again, as 503. */
const STATUSES: Readonly<Record<string, number>> = {
  AccessDenied: 403,
  InvalidAccessKeyId: 403,
  SignatureDoesNotMatch: 403,
  ExpiredToken: 400,
  InvalidToken: 400,
  InvalidArgument: 400,
  InvalidRange: 416,
  InvalidRequest: 400,
  InvalidPart: 400,
  InvalidPartOrder: 400,
  EntityTooSmall: 400,
  EntityTooLarge: 400,
  BadDigest: 400,
  NoSuchBucket: 404,
  NoSuchKey: 404,
  NoSuchUpload: 404,
  NoSuchVersion: 404,
  PreconditionFailed: 412,
  ConditionalRequestConflict: 409,
  NotImplemented: 501,
};
const UNKNOWN_ERROR = 503;

/** Bytes in which the first element stands: before it there are a declaration, white space that keeps a connection open, and remarks. */
const FIRST_WITHIN = 64 * 1024;
/** A remark ends at the first `-->` and nowhere else, so that many of them are read in one way only. */
const FIRST_ELEMENT = /^\uFEFF?(?:\s|<\?[^>]*\?>|<!--(?:[^-]|-(?!->))*-->)*<(?:[\w.-]+:)?([\w.-]+)[\s/>]/;

/** The status by which such an answer goes on. Throws where the command asks for a list and this is none. */
export function statusByXml(commandName: string, body: Uint8Array): number {
  const text = new TextDecoder().decode(body.subarray(0, FIRST_WITHIN));
  const first = FIRST_ELEMENT.exec(text)?.[1];
  if (first === 'Error') return STATUSES[/<Code>\s*(\w+)\s*<\/Code>/.exec(text)?.[1] ?? ''] ?? UNKNOWN_ERROR;
  const expected = LISTS[commandName];
  if (expected === undefined || first === expected) return 200;
  throw new StoreFault(
    `the answer is not S3's: expected a ${expected}, and ${first === undefined ? 'no XML came' : `a "${oneLine(first)}" came`}, as from a proxy or another service than S3`,
    { code: 'UnknownAnswer', status: 200, retryable: true },
  );
}
