/** A real dev server for a test file, and workers on task queues of their own. */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { loadCatalog } from '../../activities/catalog.ts';
import { mapErrors } from '../../activities/failure.ts';
import { createActivities } from '../../activities/index.ts';
import type { Services } from '../../activities/services.ts';
import { createServices } from '../../src/app/services.ts';
import { findTemporalBinary } from '../../src/app/temporal/binary.ts';
import { createStorage, type Storage } from '../../src/io/storage/storage.ts';
import type { PipelineInput, PipelineResult } from '../../src/pipeline/contract.ts';

export const WORKFLOW_BUNDLE = fileURLToPath(new URL('../../workflow-bundle.js', import.meta.url));

/** The SDK gives a server five seconds to start, which a machine with much else to do may not have. */
const STARTS = 5;

/** `uiPort`: with the UI, on that port; `settings`: of the server's dynamic configuration. */
export async function devServer({
  uiPort,
  settings = [],
}: { readonly uiPort?: number; readonly settings?: readonly string[] } = {}): Promise<TestWorkflowEnvironment> {
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } } });
  const path = await findTemporalBinary({ log: () => undefined });
  const start = (): Promise<TestWorkflowEnvironment> =>
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path },
        log: { format: 'pretty', level: 'error' },
        extraArgs: settings.flatMap((setting) => ['--dynamic-config-value', setting]),
        ...(uiPort === undefined ? {} : { ui: true, uiPort }),
      },
    });
  for (let left = STARTS; ; left--) {
    try {
      return await start();
    } catch (error) {
      if (left === 1 || !/did not start within/.test(String(error))) throw error;
    }
  }
}

export function servicesOf(workspace: string, storage: Storage = createStorage()): Services {
  return createServices(storage, { workspace });
}

type Activities = ReturnType<typeof createActivities>;

/** `change`: what a test does around the real activities. */
export async function workerOf(
  environment: Pick<TestWorkflowEnvironment, 'nativeConnection'>,
  taskQueue: string,
  services: Services,
  change: (activities: Activities) => object = (activities) => activities,
  options: Partial<WorkerOptions> = {},
): Promise<Worker> {
  return Worker.create({
    connection: environment.nativeConnection,
    taskQueue,
    workflowBundle: { codePath: WORKFLOW_BUNDLE },
    activities: change(createActivities(await loadCatalog(), services)),
    interceptors: { activity: [mapErrors] },
    maxHeartbeatThrottleInterval: 200,
    stickyQueueScheduleToStartTimeout: '1s',
    ...options,
  });
}

/** A run with a worker of its own, to its end. */
export async function runPipeline(environment: TestWorkflowEnvironment, input: PipelineInput, services: Services): Promise<PipelineResult> {
  const taskQueue = `test-${randomUUID()}`;
  const worker = await workerOf(environment, taskQueue, services);
  return worker.runUntil(
    environment.client.workflow.execute('checkpointPipeline', {
      taskQueue,
      workflowId: `run-${randomUUID()}`,
      args: [input],
    }) as Promise<PipelineResult>,
  );
}
