/** What time it is at a Temporal server, which no answer of its tells. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TemporalAccess } from './connect.ts';

/** Its own name, so that nobody's work is taken. */
const CLOCK_QUEUE = 'ckpt-doctor';
/** Milliseconds until the server is asked again whether it has noted a poll, mostly the first time. */
const PAUSE = 50;
/** Milliseconds for all of it. */
const DEADLINE = 5000;

/** `other` is its time, read between `before` and `after` here, all in milliseconds since the epoch. */
export interface ClockReading {
  readonly before: number;
  readonly other: number;
  readonly after: number;
}

type Place = Pick<TemporalAccess, 'connection' | 'namespace'>;

/** Who asks for work is noted by the server with its own time: a poll of our own on a queue of our own, given up after a moment. */
export function readServerClock(place: Place): Promise<ClockReading> {
  // Without one the server takes no poll.
  return place.connection.withDeadline(Date.now() + DEADLINE, () => read(place));
}

async function read({ connection, namespace }: Place): Promise<ClockReading> {
  const { workflowService } = connection;
  const identity = `doctor-${randomUUID()}@${hostname()}`;
  const taskQueue = { name: CLOCK_QUEUE };
  const abort = new AbortController();
  const before = Date.now();
  const poll = connection.withAbortSignal(abort.signal, () => workflowService.pollActivityTaskQueue({ namespace, taskQueue, identity }));
  poll.catch(() => undefined);
  try {
    for (;;) {
      const { pollers } = await workflowService.describeTaskQueue({ namespace, taskQueue, taskQueueType: 2 });
      const after = Date.now();
      const other = millisecondsOf(pollers?.find((poller) => poller.identity === identity)?.lastAccessTime);
      if (other !== null) return { before, other, after };
      await sleep(PAUSE);
    }
  } finally {
    abort.abort();
    await poll.catch(() => undefined);
  }
}

interface Timestamp {
  readonly seconds?: unknown;
  readonly nanos?: number | null;
}

/** Since the epoch; null where there is none. */
export function millisecondsOf(time: Timestamp | null | undefined): number | null {
  return time == null ? null : Number(time.seconds ?? 0) * 1000 + (time.nanos ?? 0) / 1e6;
}
