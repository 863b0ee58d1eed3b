/** URIs that may be kept: in a run's input, its history, a manifest. One that is a credential may not. */
import { CheckpointConfigError, isCheckpointError } from '../../errors.ts';
import { isHttp, schemeOf } from '../../model/scheme.ts';

/** Words in names of parameters that are credentials: of signed URLs of the usual stores, and tokens, keys, passwords and sessions. */
const SECRET_WORDS = new Set(
  `auth authentication authorization bearer cred creds credential credentials hmac jwt key keys oauth otp pass passphrase
  passwd password passwords pwd sas secret secrets sessid session sessionid sid sig sign signature signatures token tokens`.split(/\s+/),
);
/** The same where words are written as one: `accesstoken`, `AWSAccessKeyId` in small letters; not `monkey`. */
const RUN_TOGETHER =
  /(token|secret|passw(or)?d|passphrase|signature|credentials?|sessionid|sessid)$|(api|app|auth|access|account|client|encryption|license|master|pass|private|secret|security|service|session|shared|signing|user)key(id)?$|^googleaccessid$/;

/** What names a credential wherever it stands: of signed requests, and as sign-in pages hand tokens over. */
const UNMISTAKABLE =
  /^(x-[a-z]+-.*|(access|api|auth|id|oauth|refresh|security|session)[_-]?token|([a-z]+[_-]?)?access[_-]?(key|id|key[_-]?id)|(api|secret)[_-]?key|client[_-]?secret|password)$/i;

/** The URL as it may be kept and shown; one that is not of HTTP, or holds a credential, is a `CheckpointConfigError` that does not repeat it. */
export function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  // The standard's own reader takes `https:host` and `https:\\host` as well.
  if (url === null || !/^\s*https?:\/\//i.test(text) || url.hostname === '')
    throw new CheckpointConfigError(`${asShown(text)} is not an http:// or https:// URL.`);
  if (hasUserInfo(text) || url.username !== '' || url.password !== '')
    throw new CheckpointConfigError(
      `${asShown(text)}: a user name or password does not belong into a URL, which is kept in the run's history.`,
    );
  const secret = secretIn(text);
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
    else if (NOT_A_PATH.test(value)) throw userInfoError(value);
  } catch (error) {
    throw isCheckpointError(error) ? new CheckpointConfigError(error.message, path) : error;
  }
}

/** A URI whose scheme was left out or is followed by too few slashes, with a user name and a password. */
const NOT_A_PATH = /^\s*(s3:\/?|\/\/)[^/:@]*:[^/@]*@/i;

/** Of every scheme, also one that nothing here reads or writes. */
function checkUri(uri: string): void {
  if (hasUserInfo(uri)) throw userInfoError(uri);
  const secret = secretIn(uri);
  if (secret !== undefined)
    throw new CheckpointConfigError(
      `${asShown(uri)}: the parameter \`${secret}\` is a credential, and URIs are kept in the run's history. Leave it out: the worker reaches its stores with credentials of its own.`,
    );
}

function userInfoError(uri: string): CheckpointConfigError {
  return new CheckpointConfigError(
    `${asShown(uri)}: a user name or password does not belong into a URI, which is kept in the run's history.`,
  );
}

/**
 * The first parameter that is a credential. Keys of S3 and names of files are taken as they are written, and `#` is common in them: behind it, a
 * name of theirs has to be one that nothing else has.
 */
function secretIn(uri: string): string | undefined {
  const isName = ['s3', 'file'].includes(schemeOf(uri.trimStart()) ?? '');
  return parametersOf(uri).find(({ name, mark }) => isSecretName(name) && (mark === '?' || !isName || UNMISTAKABLE.test(name)))?.name;
}

/**
 * What has the form of a parameter, whatever a server would take for one, with the `?` or `#` that it stands behind. What follows a `#` is not
 * sent, but kept with the rest.
 */
function parametersOf(uri: string): readonly { readonly name: string; readonly mark: string }[] {
  return [...uri.matchAll(/([?#])([^?#]*)/g)].flatMap(([, mark = '', part = '']) =>
    part
      .split(/[&;]/)
      .filter((parameter) => parameter.includes('='))
      .flatMap((parameter) => [...new URLSearchParams(parameter).keys()])
      .map((name) => ({ name, mark })),
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
  if (!/^[^:]*:\d*$/.test(host)) return true;
  // Web servers have ports, and names there may hold an `@`.
  return rest.includes('@') && !isHttp(uri);
}

/** Whether a parameter's name says that its value is a credential: by one of its words, however they are put together. */
export function isSecretName(name: string): boolean {
  const words = (text: string): readonly string[] => text.toLowerCase().split(/[^a-z]+/);
  const camel = name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replace(/([A-Z])([A-Z][a-z])/g, '$1 $2');
  // Also without a look at capitals, which anybody may set anywhere.
  return [...words(camel), ...words(name)].some((word) => SECRET_WORDS.has(word) || RUN_TOGETHER.test(word));
}

/**
 * Any location as it may be shown, whatever is wrong with it: nobody knows then where its parts end. All that may be a user name or a password is
 * left out, up to the last `@`, and so are parameters.
 */
export function asShown(text: string): string {
  const shown = text.includes('@')
    ? text.replace(/^(\s*([a-z][a-z0-9+.-]*:\/\/|(https?|s3):[/\\]*|\/\/)?).*@/is, '$1…@')
    : hasUserInfo(text)
      ? text.replace(/\/\/.*$/s, '//…')
      : text;
  return shown.replace(/[?#].*$/s, '').slice(0, 200);
}
