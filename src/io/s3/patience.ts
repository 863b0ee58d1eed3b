/** One exchange with a store, tried again as the policy says. */
import { watched } from '../range-read.ts';
import { retrying, type RetryPolicy } from '../retry.ts';

/** An exchange of so many bytes has the time for a stall, and that which they take at the least rate. */
export function patiently<T>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  bytes: number,
  work: (signal: AbortSignal, tried: number) => Promise<T>,
): Promise<T> {
  const patience = policy.stallMs + (bytes / policy.leastRate) * 1000;
  return retrying(policy, signal, (tried) => watched(patience, signal, (watch) => work(watch.signal, tried)));
}
