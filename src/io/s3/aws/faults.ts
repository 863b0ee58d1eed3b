/** What the SDK throws, as faults of ours. */
import { S3ServiceException } from '@aws-sdk/client-s3';
import { isRetryableStatus, networkFault, oneLine, retryAfter, StoreFault } from '../../store-fault.ts';
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
  const { name, message } = error as { name?: string; message?: string };
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError')
    return new StoreFault(scrub(message ?? ''), { code: 'NoCredentials', retryable: false });
  // The SDK keeps of an error of another realm, as the system's are under a test runner, the text alone.
  const wrapped = /^AWS SDK error wrapper for (?:.*\b(E[A-Z]{4,})\b|Error: (aborted)$)/.exec(message ?? '');
  const network = networkFault(wrapped === null ? error : { code: wrapped[1] ?? 'ECONNRESET', message });
  if (network !== null) return network;
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

/** Ids of access keys are not secrets, but nobody wants them in a history either. */
function scrub(text: string): string {
  return text.replace(/\b(AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b/g, '$1…');
}
