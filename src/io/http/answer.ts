/** What an answer of a web server says of the file: which version it is, and whether to ask again. */
import type { IncomingMessage } from 'node:http';
import { CHANGED, isRetryableStatus, oneLine, retryAfter, StoreFault } from '../store-fault.ts';

/** What a server must repeat with every answer for the same version: a strong entity tag, else the time of the last change. */
export function validatorOf(answer: IncomingMessage): string | null {
  return tagOf(answer) ?? modifiedOf(answer);
}

/** Weak tags name what looks the same, not the same bytes; empty ones name nothing. */
export function tagOf({ headers: { etag = '' } }: IncomingMessage): string | null {
  return etag === '' || etag === '""' || etag.startsWith('W/') ? null : `etag=${etag}`;
}

export function modifiedOf({ headers }: IncomingMessage): string | null {
  const modified = headers['last-modified'];
  return modified === undefined || modified === '' ? null : `modified=${modified}`;
}

/** The value for `If-Range`. */
export function ifRange(validator: string): string {
  return validator.slice(validator.indexOf('=') + 1);
}

export function statusFault(answer: IncomingMessage): StoreFault {
  const status = answer.statusCode ?? 0;
  // By the standard's words: the server's own may hold anything, the signed URL that it was asked for among them. Node's module is loaded
  // wherever there was an answer, and not before.
  return new StoreFault(process.getBuiltinModule('node:http').STATUS_CODES[status] ?? 'a status that nobody has defined', {
    code: `HTTP${status}`,
    status,
    retryable: isRetryableStatus(status),
    retryAfterMs: retryAfter(answer.headers['retry-after']),
  });
}

/** For what came instead of a range of the pinned version: some answers say that this version is not there any more. */
export function rangeFault(answer: IncomingMessage): StoreFault {
  const { message, status } = statusFault(answer);
  return status === 412 || status === 416 ? new StoreFault(message, { code: CHANGED, status, retryable: false }) : statusFault(answer);
}

/** Throws a `StoreFault` for a file of more bytes than are taken. */
export function checkSize(size: number, most = Infinity): void {
  if (size > most)
    throw new StoreFault(`it has ${size} bytes or more, at most ${most} were expected`, { code: 'TooLarge', retryable: false });
}

/** True where the bytes are the file's own, and not packed for the way. */
export function isPlain({ headers }: IncomingMessage): boolean {
  const encoding = headers['content-encoding'];
  return encoding === undefined || encoding.toLowerCase() === 'identity';
}

/** For an answer that is not plain: unpacked bytes are other bytes than those that its length and ranges count. */
export function packedFault({ headers }: IncomingMessage): StoreFault {
  return new StoreFault(
    `the server sends it as ${oneLine(headers['content-encoding'] ?? '')} though it was asked not to, and its lengths and ranges count other bytes than those of the file. Have the server, or a proxy before it, pack no such files`,
    {
      code: 'ContentEncoding',
      retryable: false,
    },
  );
}
