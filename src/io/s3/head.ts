/**
 * What an object is, asked for with HEAD.
 *
 * An answer to HEAD has no body, so no code: why it was refused, a GET of one byte tells. Without it, keys that are over or wrong could
 * not be told from a lack of permission, and would not be renewed.
 */
import { watched } from '../range-read.ts';
import type { RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { patiently } from './patience.ts';
import type { S3Head, S3Object, S3Port, S3Target } from './port.ts';

/** Faults that mean: HEAD is refused, and GET is not. */
export const HEAD_REFUSED = 'HeadRefused';

/** Rejects with a `StoreFault`, under the code that the store gives it. */
export function headS3(
  port: S3Port,
  object: S3Object,
  options: { readonly checksum: boolean },
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
): Promise<S3Head> {
  return ask(port, object, options, policy, signal, () => true);
}

/** What is there; null where nothing is. */
export function headOrNull(
  port: S3Port,
  { bucket, key }: S3Target,
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
): Promise<S3Head | null> {
  const object = { bucket, key, versionId: null };
  // Whether it is the bucket that is missing, whoever writes to it hears.
  return ask(port, object, { checksum: false }, policy, signal, isThere).catch((error: unknown) => {
    if (isThere(error)) throw error;
    return null;
  });
}

function isThere(error: unknown): boolean {
  return !(error instanceof StoreFault) || error.status !== 404 || error.code === 'NoSuchBucket';
}

/** `asksWhy`: whether to ask for the store's reason. */
async function ask(
  port: S3Port,
  object: S3Object,
  options: { readonly checksum: boolean },
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  asksWhy: (error: unknown) => boolean,
): Promise<S3Head> {
  try {
    return await patiently(policy, signal, 0, (inner) =>
      port.head(object, options, inner).catch(async (error: unknown) => {
        if (!(error instanceof StoreFault) || error.retryable || !asksWhy(error)) throw error;
        throw await named(error, port, object, inner);
      }),
    );
  } catch (error) {
    if (!(error instanceof StoreFault) || !error.retryable) throw error;
    // A store that has too much to do is asked why once: after the last try.
    const why = await watched(policy.stallMs, signal, (watch) => named(error, port, object, watch.signal)).catch(() => error);
    signal?.throwIfAborted();
    why.attempts = error.attempts;
    throw why;
  }
}

async function named(error: StoreFault, port: S3Port, object: S3Object, signal: AbortSignal): Promise<StoreFault> {
  const { status } = error;
  if (status === null || status < 300) return error;
  try {
    const answer = await port.get(object, null, 0, 1, signal);
    answer.body.destroy();
  } catch (second) {
    return second instanceof StoreFault && second.status === status ? second : error;
  }
  if (error.retryable || status === 404) return error;
  return new StoreFault('HEAD is refused, while GET is answered', { code: HEAD_REFUSED, status, retryable: false });
}
