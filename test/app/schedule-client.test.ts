/** What a schedule's last run came to, as the server says it. */
import { expect, test } from '@jest/globals';
import { ServiceError, WorkflowNotFoundError } from '@temporalio/client';
import { CheckpointSchedules } from '../../src/app/schedule-client.ts';
import type { Access } from '../../src/app/start.ts';
import { CheckpointNotFoundError } from '../../src/errors.ts';
import { PIPELINE_WORKFLOW } from '../../src/pipeline/contract.ts';

const RUN = {
  scheduledAt: new Date(0),
  takenAt: new Date(0),
  action: { type: 'startWorkflow', workflow: { workflowId: 'nightly-1', firstExecutionRunId: 'r' } },
};
const SUMMARY = {
  scheduleId: 'nightly',
  action: { type: 'startWorkflow', workflowType: PIPELINE_WORKFLOW },
  state: { paused: false },
  info: { recentActions: [RUN], nextActionTimes: [] },
};

/** The outcome of the last run in the list, where the server answers so for it. */
async function outcome(describe: () => Promise<unknown>, settled: () => Promise<never>): Promise<unknown> {
  // Of a client, the list uses these only.
  const client = {
    schedule: {
      async *list() {
        yield SUMMARY;
      },
    },
    workflow: { getHandle: () => ({ describe }) },
  };
  const schedules = new CheckpointSchedules({ client } as unknown as Access, { settled }, { settled });
  for await (const { runs } of schedules.list()) return runs[0]?.outcome;
  return undefined;
}

const ended = async (): Promise<unknown> => ({ status: { name: 'COMPLETED' } });
const rejecting = (error: Error) => (): Promise<never> => Promise.reject(error);
const unused = rejecting(new Error('not asked for'));

test('a run that the server has no more is lost', async () => {
  expect(await outcome(rejecting(new WorkflowNotFoundError('gone', 'nightly-1', undefined)), unused)).toBe('lost');
  expect(await outcome(ended, rejecting(new CheckpointNotFoundError('gone', 'nightly-1')))).toBe('lost');
});

test.each([
  [14, 'UNAVAILABLE'],
  [4, 'DEADLINE_EXCEEDED'],
])('of one that the server does not tell of (%i %s) nothing is said', async (code, details) => {
  const error = new ServiceError('Failed to describe workflow', {
    cause: Object.assign(new Error(details), { code, details, metadata: {} }),
  });
  await expect(outcome(rejecting(error), unused)).rejects.toBe(error);
  await expect(outcome(ended, rejecting(error))).rejects.toBe(error);
});

test.each<[unknown, string]>([
  ['', 'an empty one'],
  [undefined, 'undefined'],
  [{ id: 'nightly', cron: '0 2 * * *' }, 'object'],
])('whatever is asked of a schedule, its id is a text: %j', async (id, got) => {
  const schedules = new CheckpointSchedules({} as Access, { settled: unused }, { settled: unused });
  const given = id as string;
  const refused = { code: 'CheckpointConfigError', message: expect.stringContaining(`, not ${got}. `) };
  for (const asked of [
    schedules.apply(given, {} as never),
    schedules.describe(given),
    schedules.pause(given),
    schedules.trigger(given),
    schedules.delete(given),
  ])
    await expect(asked).rejects.toMatchObject(refused);
});
