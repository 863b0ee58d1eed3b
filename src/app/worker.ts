/** The worker: workflow bundle made at build time, activities from the catalog. */
import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker, type NativeConnectionOptions } from '@temporalio/worker';
import { loadCatalog } from '../../activities/catalog.ts';
import { mapErrors } from '../../activities/failure.ts';
import { createActivities } from '../../activities/index.ts';
import { TASK_QUEUE } from '../pipeline/contract.ts';
import type { Storage } from '../io/storage/storage.ts';
import { createServices } from './services.ts';
import { configuredStorage } from './storage.ts';

export const WORKFLOW_BUNDLE = fileURLToPath(new URL('../../workflow-bundle.js', import.meta.url));

export interface WorkerOptions {
  readonly connection: NativeConnectionOptions;
  readonly namespace: string;
  readonly taskQueue?: string;
  /** Default: as configured, for the inputs of the user who started this process. */
  readonly storage?: Storage;
  /** See `Services.refuseUnknown`. */
  readonly refuseUnknown?: boolean;
  /** Modules and folders with further stages. */
  readonly plugins?: readonly string[];
}

export interface RunningWorker {
  /** Rejects where the worker fails; resolves after `stop`. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

let installed = false;

/** Core's own log goes to stderr and only where something is wrong; signals are the CLI's business. */
export function installRuntime(): void {
  if (installed) return;
  installed = true;
  const logger = new DefaultLogger('ERROR', (entry) => process.stderr.write(`${entry.level}: ${entry.message}\n`));
  Runtime.install({ shutdownSignals: [], logger, telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } } });
}

export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  installRuntime();
  const storage = options.storage ?? (await configuredStorage({ inputs: 'own' }));
  const connection = await NativeConnection.connect(options.connection);
  const worker = await Worker.create({
    connection,
    namespace: options.namespace,
    taskQueue: options.taskQueue ?? TASK_QUEUE,
    workflowBundle: { codePath: WORKFLOW_BUNDLE },
    activities: createActivities(await loadCatalog(options.plugins), {
      ...createServices(storage),
      refuseUnknown: options.refuseUnknown === true,
    }),
    interceptors: { activity: [mapErrors] },
    maxHeartbeatThrottleInterval: '1s',
    stickyQueueScheduleToStartTimeout: '2s',
    shutdownForceTime: '20s',
  });
  const ended = worker.run();
  // Whoever awaits `ended` sees the error; without this an early one would be reported as unhandled.
  ended.catch(() => undefined);
  return {
    ended,
    async stop() {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await ended.finally(() => {
        storage.close();
        return connection.close();
      });
    },
  };
}
