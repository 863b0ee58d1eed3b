/** Milliseconds for which a store is stayed away from: one that asks for more does not want us, and its answer is final. */
const AWAY_MOST = 3_600_000;
/** Characters of what a store says that are repeated. */
const SAID_MOST = 200;

/**
 * What went wrong in one exchange with a store, before it is put into words for users.
 *
 * Adapters turn what their libraries throw into this; only whoever knows the URI and the settings makes a typed error of it.
 */
export class StoreFault extends Error {
  /** The store's own name for it (`SlowDown`), the system's (`ECONNRESET`), or one of ours (`Stalled`, `Changed` …). */
  readonly code: string;
  /** Of the answer; null where there was none. */
  readonly status: number | null;
  /** Worth asking again. */
  readonly retryable: boolean;
  /** The store asks for this pause, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Where the store says that the bucket really is. */
  readonly region: string | undefined;
  /** Tries that were made in all when it was given up. */
  attempts = 1;
  /** Which permission the request takes, and on what; null where stores have no such thing. */
  permission: string | null = null;

  constructor(
    message: string,
    about: {
      readonly code: string;
      readonly status?: number | null;
      readonly retryable: boolean;
      readonly retryAfterMs?: number | undefined;
      readonly region?: string | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    this.name = 'StoreFault';
    this.code = about.code;
    this.status = about.status ?? null;
    this.retryable = about.retryable && (about.retryAfterMs ?? 0) <= AWAY_MOST;
    this.retryAfterMs = about.retryAfterMs;
    this.region = about.region;
  }

  /** The same, worth asking again: what stood in the way has changed. */
  again(): StoreFault {
    const { code, status, region, retryAfterMs } = this;
    return Object.assign(new StoreFault(this.message, { code, status, region, retryAfterMs, retryable: true, cause: this.cause }), {
      permission: this.permission,
    });
  }
}

/** Faults that mean: this is not the version that was pinned. No retry mends them. */
export const CHANGED = 'Changed';
/** Faults that mean: nothing came for too long. */
export const STALLED = 'Stalled';

/** Statuses that ask to come again: timeout of the server's, too early, throttling, and its own failures. */
export function isRetryableStatus(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

/** Failures of the network below HTTP, by the system's code: worth another try. */
const NETWORK_CODES = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ERR_STREAM_PREMATURE_CLOSE',
  'HPE_INVALID_CONSTANT',
  'HPE_INVALID_HEADER_TOKEN',
  'HPE_INVALID_EOF_STATE',
]);

/** For an answer that ends the talk in HTTP (status 101): Node gives its connection away, and says nothing more. */
export function switchedFault(): StoreFault {
  return new StoreFault('the server tried to switch to another protocol (status 101)', {
    code: 'ProtocolSwitched',
    status: 101,
    retryable: false,
  });
}

/** Node's own name for it. */
const HEAD_TOO_LONG = 'HPE_HEADER_OVERFLOW';

/** For an answer whose head goes on after so many bytes: no other try makes it shorter. */
export function headFault(bytes: number): StoreFault {
  return new StoreFault(`the head of the answer is longer than ${bytes} bytes`, { code: HEAD_TOO_LONG, retryable: false });
}

/** A fault of the network, or null where `error` is something else. */
export function networkFault(error: unknown): StoreFault | null {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string') return null;
  if (!NETWORK_CODES.has(code) && !code.startsWith('HPE_')) return null;
  return new StoreFault(String(message), { code, retryable: code !== HEAD_TOO_LONG, cause: error });
}

/** Of a certificate that leads to no authority that Node knows. */
const UNTRUSTED =
  /^(UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT(_LOCALLY)?)|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|CERT_UNTRUSTED)$/;
/** Whether that is what the code of an error means. */
export function isUntrusted(code: string): boolean {
  return UNTRUSTED.test(code);
}

/** Of any other certificate that does not hold, by OpenSSL's names and Node's own. */
const BAD_CERTIFICATE = /^(CERT_|ERR_TLS_|CRL_|UNABLE_TO_|INVALID_(CA|PURPOSE)$|PATH_LENGTH_EXCEEDED$|HOSTNAME_MISMATCH$)/;
/** Of what is no TLS, or none that both sides speak. */
const NO_TLS = /^(ERR_SSL_|EPROTO$)/;

/** A fault of TLS, which is final; null where `error` is something else. */
export function tlsFault(error: unknown): StoreFault | null {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || !(isUntrusted(code) || BAD_CERTIFICATE.test(code) || NO_TLS.test(code))) return null;
  return new StoreFault(oneLine(String(message)), { code, retryable: false, cause: error });
}

/** What to do about it, as a sentence behind others; empty for any other fault. */
export function tlsText({ code }: StoreFault): string {
  if (isUntrusted(code))
    return ' If an authority of your own has signed its certificate, name a file with that authority in NODE_EXTRA_CA_CERTS before the worker starts (AWS_CA_BUNDLE and SSL_CERT_FILE are not read).';
  if (BAD_CERTIFICATE.test(code)) return ' Look at the certificate of whoever answers there, and at the name it is asked by.';
  return NO_TLS.test(code) ? ' Does it speak TLS at that port? If not, `http://` is meant.' : '';
}

/** What a store says of itself, short enough for a message. */
export function oneLine(text: string): string {
  return text
    .slice(0, SAID_MOST)
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim();
}

/** The pause that a store asks for, as a sentence behind others; empty where it asks for none. */
export function waitText({ retryAfterMs }: StoreFault): string {
  if (retryAfterMs === undefined || retryAfterMs === 0) return '';
  const more = retryAfterMs > AWAY_MOST ? `, more than the ${AWAY_MOST / 1000} s that are waited at most` : '';
  return ` It asks to wait ${Math.ceil(retryAfterMs / 1000)} s${more}.`;
}

/** `Retry-After` in milliseconds: seconds or a date. */
export function retryAfter(header: string | null | undefined): number | undefined {
  if (header === null || header === undefined || header === '') return undefined;
  // A number alone is never a date, whatever `Date.parse` makes of it.
  const seconds = /^[+-]?[\d.]+$/.test(header)
    ? /^\d+$/.test(header)
      ? Number(header)
      : Number.NaN
    : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, seconds) * 1000);
}
