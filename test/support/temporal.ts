/** A real dev server for a test file, and workers on task queues of their own. */
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { loadCatalog } from '../../activities/catalog.ts';
import { mapErrors } from '../../activities/failure.ts';
import { createActivities } from '../../activities/index.ts';
import type { Services } from '../../activities/services.ts';
import { createServices } from '../../src/app/services.ts';
import { findTemporalBinary } from '../../src/app/temporal/binary.ts';
import { createStorage, type Storage } from '../../src/io/storage/storage.ts';

export const WORKFLOW_BUNDLE = fileURLToPath(new URL('../../workflow-bundle.js', import.meta.url));

/** `uiPort`: with the UI, on that port. */
export async function devServer({ uiPort }: { readonly uiPort?: number } = {}): Promise<TestWorkflowEnvironment> {
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } } });
  const path = await findTemporalBinary({ log: () => undefined });
  return TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path },
      log: { format: 'pretty', level: 'error' },
      ...(uiPort === undefined ? {} : { ui: true, uiPort }),
    },
  });
}

export function servicesOf(workspace: string, storage: Storage = createStorage()): Services {
  return createServices(storage, { workspace });
}

type Activities = ReturnType<typeof createActivities>;

/** `change`: what a test does around the real activities. */
export async function workerOf(
  environment: TestWorkflowEnvironment,
  taskQueue: string,
  services: Services,
  change: (activities: Activities) => object = (activities) => activities,
): Promise<Worker> {
  return Worker.create({
    connection: environment.nativeConnection,
    taskQueue,
    workflowBundle: { codePath: WORKFLOW_BUNDLE },
    activities: change(createActivities(await loadCatalog(), services)),
    interceptors: { activity: [mapErrors] },
    maxHeartbeatThrottleInterval: 200,
    stickyQueueScheduleToStartTimeout: '1s',
  });
}
