/** What the SDK throws, as faults of ours. */
import { S3ServiceException } from '@aws-sdk/client-s3';
import { CheckpointConfigError } from '../../../errors.ts';
import { isRetryableStatus, networkFault, oneLine, retryAfter, StoreFault, tlsFault } from '../../store-fault.ts';
import { EXPIRED } from '../keys.ts';

/** Codes that stores answer with when they have too much to do, whatever the status. */
const THROTTLING = new Set([
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'TooManyRequestsException',
  'RequestLimitExceeded',
  'BandwidthLimitExceeded',
  'RequestThrottled',
  'RequestTimeout',
  'InternalError',
  'ServiceUnavailable',
  'OperationAborted',
  // The SDK corrects its clock by the answer.
  'RequestTimeTooSkewed',
]);

/** The SDK's exceptions as ours; the signal's reason and what is not a failure of a request pass as they are. */
export function faultOf(error: unknown): unknown {
  if (error instanceof StoreFault) return error;
  if (error instanceof S3ServiceException) {
    const status = error.$metadata.httpStatusCode ?? null;
    const headers = error.$response?.headers ?? {};
    return new StoreFault(oneLine(scrub(error.message)), {
      code: oneLine(error.name),
      status,
      retryable:
        THROTTLING.has(error.name) ||
        EXPIRED.test(error.name) ||
        // An answer to HEAD has no code; that it was the clock, the SDK tells by its date.
        ('clockSkewCorrected' in error.$metadata && error.$metadata.clockSkewCorrected === true) ||
        (status !== null && isRetryableStatus(status)),
      retryAfterMs: retryAfter(headers['retry-after']),
      region: headers['x-amz-bucket-region'],
    });
  }
  const endpoint = wrongEndpoint(error);
  if (endpoint !== null) return endpoint;
  const { name, message } = error as { name?: string; message?: string };
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError')
    return new StoreFault(scrub(message ?? ''), { code: 'NoCredentials', retryable: false });
  // The SDK keeps of an error of another realm, as the system's are under a test runner, the text alone.
  const wrapped = /^AWS SDK error wrapper for (?:.*\b(E[A-Z]{4,})\b|Error: (aborted)$)/.exec(message ?? '');
  const network = networkFault(wrapped === null ? error : { code: wrapped[1] ?? 'ECONNRESET', message });
  if (network !== null) return network;
  const tls = tlsFault(error);
  if (tls !== null) return tls;
  if (name === 'TimeoutError') return new StoreFault(message ?? 'the store cannot be reached', { code: 'ConnectTimeout', retryable: true });
  // An answer that is not S3's: the page of a proxy, or XML that breaks off.
  const { $response: response } = error as { readonly $response?: { readonly statusCode?: number } };
  const status = response?.statusCode;
  if (status === undefined) return error;
  return new StoreFault(
    `the answer is not S3's: ${
      scrub(message ?? '')
        .split('\n')[0]
        ?.slice(0, 200) ?? ''
    }`,
    {
      code: 'UnknownAnswer',
      status,
      retryable: status === 200 || isRetryableStatus(status),
      cause: error,
    },
  );
}

/** Endpoints of variables and profiles, which the SDK takes as they are until it is to ask there; those of our settings were checked. */
function wrongEndpoint(error: unknown): CheckpointConfigError | null {
  const { name, code, input, message } = error as { name?: unknown; code?: unknown; input?: unknown; message?: unknown };
  // Of `minio.lab:9000` the SDK makes a scheme and what stands behind it.
  const custom = name === 'EndpointError' ? /^Custom endpoint `(.*)` was not a valid URI$/.exec(String(message))?.[1] : undefined;
  const given = code === 'ERR_INVALID_URL' ? String(input) : custom?.replace(/^([^/]*):\/\/(\d+)$/, '$1:$2');
  if (given === undefined) return null;
  // Before an `@` stands a password, perhaps.
  const shown = given.includes('@') ? '' : ` \`${oneLine(given)}\``;
  return new CheckpointConfigError(
    `The S3 endpoint${shown} is no URL that begins with http:// or https://. Write it as http://minio.lab:9000, in AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the \`endpoint_url\` of the AWS profile.`,
  );
}

/** Ids of access keys are not secrets, but nobody wants them in a history either. */
function scrub(text: string): string {
  return text.replace(/\b(AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b/g, '$1…');
}
