/** URIs that may be kept: in a run's input, its history, a manifest. One that is a credential may not. */
import { CheckpointConfigError, isCheckpointError } from '../../errors.ts';
import { schemeOf } from '../../model/scheme.ts';

/** Words in names of parameters that are credentials: of signed URLs of the usual stores, and tokens, keys, passwords and sessions. */
const SECRET_WORDS = new Set(
  `auth authentication authorization bearer cred creds credential credentials hmac jwt key keys oauth otp pass passphrase
  passwd password passwords pwd sas secret secrets sessid session sessionid sid sig sign signature signatures token tokens`.split(/\s+/),
);
/** The same where words are written as one: `accesstoken`, `AWSAccessKeyId` in small letters; not `monkey`. */
const RUN_TOGETHER =
  /(token|secret|passw(or)?d|passphrase|signature|credentials?|sessionid|sessid)$|(api|app|auth|access|account|client|encryption|license|master|pass|private|secret|security|service|session|shared|signing|user)key(id)?$|^googleaccessid$/;

export function isHttp(uri: string): boolean {
  return /^https?:\/\//i.test(uri);
}

/** The URL as it may be kept and shown; one that is not of HTTP, or holds a credential, is a `CheckpointConfigError` that does not repeat it. */
export function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '')
    throw new CheckpointConfigError(`${withoutSecrets(text)} is not an http:// or https:// URL.`);
  if (url.username !== '' || url.password !== '')
    throw new CheckpointConfigError(
      `${url.origin}${url.pathname}: a user name or password does not belong into a URL, which is kept in the run's history.`,
    );
  // What stands behind `#` is not sent, but kept with the rest; some sign-in pages hand tokens over there.
  const behind = url.hash.includes('=') ? new URLSearchParams(url.hash.slice(1)) : new URLSearchParams();
  const parameters = [...url.searchParams.keys(), ...behind.keys()];
  const secret = parameters.find(isSecretName);
  if (secret !== undefined)
    throw new CheckpointConfigError(
      `${url.origin}${url.pathname}: the parameter \`${secret}\` is a credential, and URLs are kept in the run's history. For S3 stores use source.s3 with the worker's own credentials.`,
    );
  url.hash = '';
  return url.href;
}

/** Before anything is sent: what a run is started with stays in its history. `path` is like `stages[1].uri`. A path may be of any characters. */
export function refuseCredential(value: unknown, path: string): void {
  if (typeof value !== 'string') return;
  try {
    if (isHttp(value)) checkUrl(value);
    else if (schemeOf(value.trimStart()) !== null) checkUri(value);
  } catch (error) {
    throw isCheckpointError(error) ? new CheckpointConfigError(error.message, path) : error;
  }
}

/**
 * Of every scheme, also one that nothing here reads or writes. Keys of S3 are names as they are written: behind a `?` or `#` in one, that
 * counts which has the form of a parameter.
 */
function checkUri(uri: string): void {
  if (hasUserInfo(uri))
    throw new CheckpointConfigError(
      `${withoutUser(uri)}: a user name or password does not belong into a URI, which is kept in the run's history.`,
    );
  const [place = '', ...behind] = uri.split(/[?#]/);
  const secret = behind
    .flatMap((part) => part.split(/[&;]/))
    .filter((parameter) => parameter.includes('='))
    .flatMap((parameter) => [...new URLSearchParams(parameter).keys()])
    .find(isSecretName);
  if (secret !== undefined)
    throw new CheckpointConfigError(
      `${place}: the parameter \`${secret}\` is a credential, and URIs are kept in the run's history. Leave it out: the worker reaches its stores with credentials of its own.`,
    );
}

/** By which `arn:` access points of S3 are named. */
const PLACE_WITH_COLONS = /^arn:aws[a-z-]*:/i;

/**
 * Whether a user name or a password stands before a URI's place. Keys of AWS hold slashes, so that a password may end far behind the first of
 * them: then it is known by the `:`, behind which there is no port.
 */
export function hasUserInfo(uri: string): boolean {
  const [, place = '', rest = ''] = /^\s*[a-z][a-z0-9+.-]*:\/\/([^/]*)(.*)$/is.exec(uri) ?? [];
  if (place.includes('@')) return true;
  const host = place.replace(/^\[[^\]]*\]/, '');
  if (!host.includes(':') || PLACE_WITH_COLONS.test(host)) return false;
  return rest.includes('@') || !/^[^:]*:\d*$/.test(host);
}

/** Such a URI as it may be shown: what stands behind the last `@`. */
export function withoutUser(uri: string): string {
  return uri.includes('@') ? withoutSecrets(uri) : uri.replace(/\/\/.*$/s, '//…');
}

/** Whether a parameter's name says that its value is a credential: by one of its words, however they are put together. */
export function isSecretName(name: string): boolean {
  const words = (text: string): readonly string[] => text.toLowerCase().split(/[^a-z]+/);
  const camel = name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replace(/([A-Z])([A-Z][a-z])/g, '$1 $2');
  // Also without a look at capitals, which anybody may set anywhere.
  return [...words(camel), ...words(name)].some((word) => SECRET_WORDS.has(word) || RUN_TOGETHER.test(word));
}

/** Of what is not a URL, nobody knows where its parts end: all that may be a user name or a password is left out, up to the last `@`. */
function withoutSecrets(text: string): string {
  return text
    .replace(/\/\/.*@/s, '//…@')
    .replace(/\?.*$/s, '')
    .slice(0, 200);
}
