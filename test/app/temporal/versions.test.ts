/** Which workers the server gives new runs to, by what it tells of versions. */
import { expect, test } from '@jest/globals';
import type { Connection } from '@temporalio/client';
import { passedOver, passedWords, type Passed } from '../../../src/app/temporal/versions.ts';
import type { Place, Version } from '../../../src/app/temporal/visibility.ts';

const v1: Version = { deploymentName: 'ckpt', buildId: '1' };
const v2: Version = { deploymentName: 'ckpt', buildId: '2' };

/** What the server tells of a queue that is polled by workers of these versions; null: none. */
function queueOf(versions: readonly (Version | null)[], versioningInfo: object | null): Place {
  const lastAccessTime = { seconds: Math.floor(Date.now() / 1000), nanos: 0 };
  const pollers = versions.map((version, index) => ({
    identity: `${index}@here`,
    lastAccessTime,
    ...(version === null ? {} : { deploymentOptions: { ...version, workerVersioningMode: 2 } }),
  }));
  let clock: readonly object[] = [];
  const workflowService = {
    describeTaskQueue: async ({ taskQueue: { name } }: { taskQueue: { name: string } }) =>
      name === 'q' ? { pollers, versioningInfo } : { pollers: clock },
    // How the server's clock is read.
    pollActivityTaskQueue: async ({ identity }: { identity: string }) => {
      clock = [{ identity, lastAccessTime }];
      return {};
    },
  };
  const within = (_: unknown, ask: () => unknown) => ask();
  return {
    connection: { workflowService, withAbortSignal: within, withDeadline: within } as unknown as Connection,
    namespace: 'default',
  };
}

const UNVERSIONED = { currentVersion: '__unversioned__' };
const CURRENT_1 = { currentVersion: 'ckpt.1', currentDeploymentVersion: v1 };

test.each<[string, readonly (Version | null)[], object | null]>([
  ['the current version', [v2, v1], CURRENT_1],
  ['no version where none is current', [null], UNVERSIONED],
  ['a version that is given a part', [v2], { ...CURRENT_1, rampingDeploymentVersion: v2, rampingVersionPercentage: 5 }],
  ['no version, which is given a part', [null], { ...CURRENT_1, rampingVersionPercentage: 5 }],
  ['nobody', [], CURRENT_1],
  ['a server that does not tell', [v2], null],
  ['one that tells it in the way of before', [v1], { currentVersion: 'ckpt.1' }],
])('nothing is amiss: %s', async (_, versions, versioningInfo) => {
  expect(await passedOver(queueOf(versions, versioningInfo), 'q')).toBeNull();
});

test.each<[string, readonly (Version | null)[], object, Omit<Passed, 'queue'>, RegExp]>([
  ['another version is current', [v2, v2], CURRENT_1, { polling: [v2], current: v1 }, /--deployment-name ckpt --build-id 2`/],
  ['none is, as after the loss of the database', [v2], UNVERSIONED, { polling: [v2], current: null }, /--build-id 2`/],
  ['they have none, and one is current', [null], CURRENT_1, { polling: [null], current: v1 }, /--deployment-name ckpt --unversioned`/],
])('workers poll in vain where %s', async (_, versions, versioningInfo, found, command) => {
  const passed = await passedOver(queueOf(versions, versioningInfo), 'q');
  expect(passed).toEqual({ queue: 'q', ...found });
  expect(passedWords(passed!).advice).toMatch(command);
});
