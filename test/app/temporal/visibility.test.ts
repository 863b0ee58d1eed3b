/** Which workers there are, by what the server remembers of them. */
import { expect, test } from '@jest/globals';
import type { Connection } from '@temporalio/client';
import { livePollersOf, pollersOf } from '../../../src/app/temporal/visibility.ts';

/** Of a server whose clock is so far ahead of ours, in milliseconds. */
function serverOf(ahead: number, remembered: Readonly<Record<number, readonly (readonly [identity: string, age: number])[]>>) {
  const now = (): number => Date.now() + ahead;
  const stamp = (ms: number) => ({ seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 });
  let asking: string | null = null;
  const workflowService = {
    async describeTaskQueue({ taskQueue, taskQueueType }: { taskQueue: { name: string }; taskQueueType: number }) {
      if (taskQueue.name === 'ckpt-doctor') return { pollers: asking === null ? [] : [{ identity: asking, lastAccessTime: stamp(now()) }] };
      return { pollers: (remembered[taskQueueType] ?? []).map(([identity, age]) => ({ identity, lastAccessTime: stamp(now() - age) })) };
    },
    async pollActivityTaskQueue({ identity }: { identity: string }) {
      asking = identity;
      return {};
    },
  };
  // What is asked of it.
  const within = (_: unknown, ask: () => unknown) => ask();
  const connection = { workflowService, withAbortSignal: within, withDeadline: within } as unknown as Connection;
  return { connection, namespace: 'default' };
}

test.each([0, 3600_000, -3600_000])(
  'a worker that has not asked for minutes is gone, whatever its server takes the time for (%s ms ahead)',
  async (ahead) => {
    const server = serverOf(ahead, {
      2: [
        ['1@gone', 80_000],
        ['2@here', 40_000],
      ],
    });
    expect(await pollersOf(server, 'checkpoints')).toEqual(['1@gone', '2@here']);
    expect(await livePollersOf(server, 'checkpoints')).toEqual(['2@here']);
  },
);

test('one whose hands are full of activities asks for workflows still', async () => {
  const server = serverOf(0, { 1: [['1@busy', 10_000]], 2: [['1@busy', 200_000]] });
  expect(await livePollersOf(server, 'checkpoints')).toEqual(['1@busy']);
});
