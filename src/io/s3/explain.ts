/** What went wrong with an object, in words: where it is, what the store said, what to check; never a credential. */
import {
  CheckpointNotFoundError,
  CheckpointSourceError,
  CheckpointTimeoutError,
  type CheckpointError,
  type JsonObject,
} from '../../errors.ts';
import { nearCheckpoints } from '../../model/checkpoint-names.ts';
import type { RetryPolicy } from '../retry.ts';
import { CHANGED, STALLED, tlsText, waitText, type StoreFault } from '../store-fault.ts';
import { HEAD_REFUSED } from './head.ts';
import { areWrong, EXPIRED } from './keys.ts';
import { s3Uri, type S3Location } from './location.ts';
import type { S3Place, S3Port } from './port.ts';

export interface S3Operation {
  readonly port: S3Port;
  readonly location: Pick<S3Location, 'bucket' | 'key'>;
  /** What was being done: `reading`. */
  readonly doing: string;
  readonly policy: RetryPolicy;
  /** Who is cancelled waits for no near names. */
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds to ask for names beside a missing one: they are a help, no more. */
const NEAR_TIMEOUT = 10_000;

/** The typed error for a fault; asks the store for near names where the object is not there. */
export async function explainS3(fault: StoreFault, operation: S3Operation): Promise<CheckpointError> {
  const { port, location, doing, policy, signal } = operation;
  const uri = s3Uri(location);
  const place = await port.describe(location.bucket).catch(() => null);
  const at = place === null ? '' : ` (${placeText(place)})`;
  const details: JsonObject = {
    bucket: location.bucket,
    key: location.key,
    region: place?.region ?? null,
    ...(place?.endpoint == null ? {} : { endpoint: place.endpoint }),
    ...(fault.status === null ? {} : { status: fault.status }),
    code: fault.code,
    attempts: fault.attempts,
  };
  const answer = fault.status === null ? fault.code : `${fault.status} ${fault.code}`;
  if (fault.code === CHANGED) return changedError(uri, fault.message, details);
  if (fault.code === STALLED)
    return new CheckpointTimeoutError(
      `${doing} ${uri} stalled: ${fault.message}, ${fault.attempts} times${at}. Look at the store and the network between.`,
      `${doing} ${uri}`,
      policy.stallMs / 1000,
      { cause: fault, details: { ...details, source_path: uri } },
    );
  if (fault.code === 'NoCredentials')
    return new CheckpointSourceError(
      `There are no credentials for ${uri}${at}: ${fault.message.replace(/\.?$/, '.')} ${place?.profile == null ? 'Set AWS_PROFILE (to a profile that is there) or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the worker' : `The worker's storage settings name the AWS profile ${place.profile}: give it keys in ~/.aws/credentials or ~/.aws/config (or where AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE point)`}, or set \`unsigned: true\` in its storage settings for a public bucket.`,
      uri,
      { cause: fault, retryable: false, details },
    );
  if (fault.code === 'NoSuchBucket')
    return new CheckpointNotFoundError(
      `There is no bucket ${location.bucket}${at}, wanted for ${uri}. Check its name, and region and endpoint of the worker's storage settings.`,
      uri,
      { cause: fault, details },
    );
  if (fault.code === 'NoSuchVersion' || (fault.status === 404 && fault.code !== 'NoSuchUpload')) {
    const near = await nearNames(port, location, signal);
    return new CheckpointNotFoundError(
      `There is no object ${uri}${fault.code === 'NoSuchVersion' ? ' in that version' : ''}${at}.${nearText(near, location)}`,
      uri,
      { cause: fault, details: { ...details, near: near ?? [] } },
    );
  }
  if (EXPIRED.test(fault.code))
    return new CheckpointSourceError(
      `${uri}: the store answers ${answer}${at}: ${place?.credentials ?? 'the credentials'} have expired, and asking for new ones gave none that are better. Renew them where the worker finds them.`,
      uri,
      { cause: fault, details },
    );
  if (areWrong(fault))
    return new CheckpointSourceError(
      `${uri}: the store refuses ${doing} with ${answer}${at}: ${wrongText(fault.code)}, of ${place?.credentials ?? 'unknown credentials'}. Correct them where the worker finds them (a file is read again, variables are not), and see that the endpoint is the one they are for; then try again.`,
      uri,
      { cause: fault, retryable: false, details },
    );
  if (fault.code === HEAD_REFUSED)
    return new CheckpointSourceError(
      `${uri}: the store refuses HEAD with ${fault.status}, while it answers GET${at}, both asked with ${place?.credentials ?? 'unknown credentials'}. Look for a proxy or a policy that lets only some methods through.`,
      uri,
      { cause: fault, retryable: false, details },
    );
  if (fault.status === 401 || fault.status === 403)
    return new CheckpointSourceError(
      `${uri}: the store refuses ${doing} with ${answer}${at}, asked with ${place?.credentials ?? 'unknown credentials'}. ${permissionText(fault)}`,
      uri,
      { cause: fault, retryable: false, details },
    );
  if (fault.status === 301 || fault.status === 307 || fault.code === 'AuthorizationHeaderMalformed')
    return new CheckpointSourceError(
      `${uri}: the store answers ${answer}${at}: the bucket lies ${fault.region === undefined ? 'in another region' : `in ${fault.region}`}. Set AWS_REGION, or \`region\` in the worker's storage settings.`,
      uri,
      { cause: fault, retryable: false, details: { ...details, bucket_region: fault.region ?? null } },
    );
  if (fault.code === 'NoSuchUpload')
    return new CheckpointSourceError(
      `${doing} ${uri} broke off: its multipart upload is gone${at}. Is it removed by a lifecycle rule, or by somebody else? The next attempt begins a new one.`,
      uri,
      { cause: fault, details },
    );
  const tries = fault.attempts > 1 ? ` after ${fault.attempts} tries` : '';
  return new CheckpointSourceError(
    `${doing} ${uri} failed${tries} with ${answer}: ${fault.message}${at}.${waitText(fault)}${tlsText(fault)}${nameText(fault, place, location.bucket)}`,
    uri,
    {
      cause: fault,
      retryable: fault.retryable,
      details,
      ...(!fault.retryable || fault.retryAfterMs === undefined ? {} : { retryAfterMs: fault.retryAfterMs }),
    },
  );
}

export function changedError(uri: string, how: string, details: JsonObject = {}): CheckpointSourceError {
  return new CheckpointSourceError(`${uri} changed since it was pinned: ${how}. Run the pipeline again when nothing writes to it.`, uri, {
    retryable: false,
    details,
  });
}

/** Stores of one's own mostly have no names for buckets. */
function nameText({ code, message }: StoreFault, place: S3Place | null, bucket: string): string {
  if (place?.endpoint == null || code !== 'ENOTFOUND' || !message.includes(` ${bucket}.`)) return '';
  return ` The bucket's own name at that endpoint is not known: with \`path_style: true\` in the worker's storage settings, ${place.endpoint}/${bucket} is asked.`;
}

function permissionText({ permission }: StoreFault): string {
  if (permission === null) return 'Check their permissions on it.';
  const list = permission.startsWith('s3:GetObject')
    ? ', and s3:ListBucket on the bucket: who may not list is refused a key that is missing in the same words'
    : '';
  return `Check that they may ${permission}${list}.`;
}

function wrongText(code: string): string {
  if (code === 'SignatureDoesNotMatch') return 'the secret key does not belong to the access key';
  return code === 'InvalidToken' ? 'it does not know the session token' : 'it does not know the access key';
}

function placeText({ region, endpoint }: S3Place): string {
  return endpoint === null ? `region ${region}` : `region ${region}, endpoint ${endpoint}`;
}

/** Names beside the key that look most like it; null where they cannot be listed. */
async function nearNames(
  port: S3Port,
  { bucket, key }: Pick<S3Location, 'bucket' | 'key'>,
  signal: AbortSignal | undefined,
): Promise<readonly string[] | null> {
  const folder = key.slice(0, key.lastIndexOf('/') + 1);
  const wanted = key.slice(folder.length);
  const limit = AbortSignal.any([AbortSignal.timeout(NEAR_TIMEOUT), ...(signal === undefined ? [] : [signal])]);
  const page = await port.list(bucket, folder, { flat: true, from: null }, limit).catch(() => null);
  if (page === null) return null;
  return nearCheckpoints(
    wanted,
    page.objects.map((found) => found.key.slice(folder.length)),
  );
}

function nearText(near: readonly string[] | null, { bucket, key }: Pick<S3Location, 'bucket' | 'key'>): string {
  if (near === null) return ' What lies beside it cannot be listed.';
  const folder = s3Uri({ bucket, key: key.slice(0, key.lastIndexOf('/') + 1) });
  return near.length === 0 ? ` ${folder} holds no checkpoint.` : ` ${folder} holds: ${near.join(', ')}.`;
}
