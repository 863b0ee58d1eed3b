/** Says to the server that an activity without progress to report is still worked on. */
import { Context } from '@temporalio/activity';

/** Milliseconds between heartbeats: a fifth of the heartbeat timeout. */
export const PULSE = 2000;

export async function withPulse<T>(work: () => Promise<T>): Promise<T> {
  // Captured: a timer has no activity context of its own.
  const context = Context.current();
  const pulse = setInterval(() => context.heartbeat(), PULSE);
  try {
    return await work();
  } finally {
    clearInterval(pulse);
  }
}
