/** Heartbeats of activities that have no progress to tell: they say that the worker lives, and a cancellation comes with their answers. */
import { Context } from '@temporalio/activity';

/** Milliseconds between heartbeats: a fifth of the heartbeat timeout. */
export const PULSE = 2000;

export async function withPulse<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  // Captured: a timer has no activity context of its own.
  const activity = Context.current();
  const pulse = setInterval(() => activity.heartbeat(), PULSE);
  return work(activity.cancellationSignal).finally(() => clearInterval(pulse));
}
