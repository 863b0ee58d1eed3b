/**
 * The worker: workflow bundle made at build time, activities from the catalog.
 *
 * One process runs one worker, or where it scales out two: one for workflows and light activities, and one that takes from the
 * queue of transfers only as many as it runs at a time. What waits stays on the server, for whichever worker is free first.
 */
import { fileURLToPath } from 'node:url';
import { NativeConnection, Worker, type NativeConnectionOptions, type WorkerOptions as SdkOptions } from '@temporalio/worker';
import { loadCatalog, type Catalog } from '../../activities/catalog.ts';
import { mapErrors } from '../../activities/failure.ts';
import { createActivities } from '../../activities/index.ts';
import { textOf } from '../errors.ts';
import type { Storage } from '../io/storage/storage.ts';
import { TASK_QUEUE, TRANSFER_QUEUE } from '../pipeline/contract.ts';
import type { Address } from './addresses.ts';
import { DEFAULT_CAPACITY, type Capacity } from './capacity.ts';
import type { WorkerHealth } from './health.ts';
import { checkpointHandler } from './nexus-service.ts';
import { endRuntime, installRuntime } from './runtime.ts';
import { createServices } from './services.ts';
import { boundedSlots, residentBytes } from './slot-supplier.ts';
import { workerStorage } from './storage.ts';
import { namespaceError } from './temporal/namespace.ts';
import { stopPromiseHook } from './temporal/promise-hook.ts';
import type { Tracing } from './tracing.ts';

export const WORKFLOW_BUNDLE = fileURLToPath(new URL('../../workflow-bundle.js', import.meta.url));
/** The same workflows with OpenTelemetry's interceptors. */
const TRACED_BUNDLE = fileURLToPath(new URL('../../workflow-bundle-traced.js', import.meta.url));
/** Milliseconds for the server to say that it is there. */
const SERVER_DEADLINE = 3000;
/**
 * A worker that stops tells its activities at once: transfers report how far they are, and others go on from there. What has not
 * ended after this long is left to the heartbeat timeout.
 */
const SHUTDOWN_FORCE = '10s';

export interface WorkerOptions {
  readonly connection: NativeConnectionOptions;
  readonly namespace: string;
  /** Default: as configured, for the inputs of the user who started this process. It is closed with the worker, also where none comes up. */
  readonly storage?: Storage;
  /** See `Services.refuseUnknown`. */
  readonly refuseUnknown?: boolean;
  /**
   * Workflows run in the main thread, for processes that live as long as one run: a thread of their own takes a quarter of a second
   * and 50 MiB to start. Not for many runs, which it would let wait for each other.
   */
  readonly oneRun?: boolean;
  /** Modules and folders with further stages. */
  readonly plugins?: readonly string[];
  readonly capacity?: Capacity;
  /** Takes transfers from a queue of their own, as all workers of a server do that several machines share. */
  readonly scaleOut?: boolean;
  /** The worker deployment version; without one, versions are told apart by the workflows themselves. */
  readonly version?: { readonly deploymentName: string; readonly buildId: string };
  readonly tracing?: Tracing | null;
  /** Where Prometheus metrics are served. */
  readonly metrics?: Address | null;
}

export interface RunningWorker {
  /** Rejects where the worker fails; resolves after `stop`. */
  readonly ended: Promise<void>;
  readonly queues: readonly string[];
  /** How it does; where `server`, the Temporal server is asked as well. */
  health(look: { readonly server: boolean }): Promise<WorkerHealth>;
  stop(): Promise<void>;
}

/**
 * What does not come up leaves nothing behind that would keep the process: no connection, and none of the SDK's native part. What this
 * machine decides of (storage, plug-ins) is looked at before that is there.
 */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const storage = options.storage ?? (await workerStorage({ inputs: 'own' }));
  try {
    const catalog = await loadCatalog(options.plugins);
    installRuntime({ metrics: options.metrics ?? undefined });
    try {
      return await connectWorker(options, storage, catalog);
    } catch (error) {
      await endRuntime();
      throw error;
    }
  } catch (error) {
    storage.close();
    await options.tracing?.close().catch(() => undefined);
    throw error;
  }
}

async function connectWorker(options: WorkerOptions, storage: Storage, catalog: Catalog): Promise<RunningWorker> {
  const { capacity = DEFAULT_CAPACITY, scaleOut = false } = options;
  const services = createServices(storage, { transfers: capacity.transfers, transferQueue: scaleOut ? TRANSFER_QUEUE : null });
  const activities = createActivities(catalog, { ...services, refuseUnknown: options.refuseUnknown === true });
  const connection = await NativeConnection.connect(options.connection);
  const { namespace } = options;
  try {
    // The SDK leaves the thread of a worker that it cannot create, which keeps the process; in the main thread there is none.
    if (options.oneRun !== true) await connection.workflowService.describeNamespace({ namespace });
    return running(options, { storage, connection, workers: await createWorkers(options, connection, activities) });
  } catch (error) {
    // Refused while one of two workers is there; the runtime ends it all the same.
    await connection.close().catch(() => undefined);
    throw namespaceError(error, namespace);
  }
}

async function createWorkers(
  options: WorkerOptions,
  connection: NativeConnection,
  activities: ReturnType<typeof createActivities>,
): Promise<readonly Worker[]> {
  const { capacity = DEFAULT_CAPACITY, scaleOut = false } = options;
  const common = {
    connection,
    namespace: options.namespace,
    activities,
    interceptors: { activity: [mapErrors] },
    // Beside, it lifts the time limit of one step of a workflow, for debuggers.
    debugMode: options.oneRun === true,
    maxHeartbeatThrottleInterval: '1s',
    shutdownForceTime: SHUTDOWN_FORCE,
    ...(options.version === undefined ? {} : { workerDeploymentOptions: deploymentOf(options.version) }),
    ...(options.tracing == null ? {} : { plugins: [options.tracing.plugin] }),
  } satisfies Partial<SdkOptions>;
  const workers: Worker[] = [];
  if (capacity.activities > 0)
    workers.push(
      await Worker.create({
        ...common,
        ...activitySlots(capacity.activities, capacity.memory),
        taskQueue: TASK_QUEUE,
        workflowBundle: { codePath: options.tracing == null ? WORKFLOW_BUNDLE : TRACED_BUNDLE },
        nexusServices: [checkpointHandler()],
        stickyQueueScheduleToStartTimeout: '2s',
      }),
    );
  if (options.oneRun === true) stopPromiseHook();
  if (scaleOut && capacity.transfers > 0)
    workers.push(await Worker.create({ ...common, ...activitySlots(capacity.transfers, capacity.memory), taskQueue: TRANSFER_QUEUE }));
  return workers;
}

interface Parts {
  readonly storage: Storage;
  readonly connection: NativeConnection;
  readonly workers: readonly Worker[];
}

function running(options: WorkerOptions, { storage, connection, workers }: Parts): RunningWorker {
  const stopAll = (): void => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  };
  // One that fails takes the other with it: half a worker would look sound.
  const runs = workers.map((worker) => worker.run().finally(stopAll));
  const ended = Promise.allSettled(runs).then((outcomes) => {
    const failed = outcomes.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  });
  // Whoever awaits `ended` sees the error; without this an early one would be reported as unhandled.
  ended.catch(() => undefined);
  return {
    ended,
    queues: workers.map(({ options: { taskQueue } }) => taskQueue),
    async health({ server }) {
      const queues = workers.map((worker) => {
        const { runState, numInFlightActivities } = worker.getStatus();
        return { task_queue: worker.options.taskQueue, state: runState, activities: numInFlightActivities };
      });
      if (!server) return { queues, server: null };
      const asked = connection.withDeadline(Date.now() + SERVER_DEADLINE, () =>
        connection.workflowService.describeNamespace({ namespace: options.namespace }),
      );
      return {
        queues,
        server: await asked.then(
          () => null,
          (error: unknown) => `the Temporal server does not answer: ${textOf(error)}`,
        ),
      };
    },
    async stop() {
      stopAll();
      await ended.finally(async () => {
        storage.close();
        await connection.close();
        await options.tracing?.close();
      });
    },
  };
}

/** Only a bound of memory takes slots of our own: the SDK's are counted in its native part. */
function activitySlots(most: number, memory: number | null): Partial<SdkOptions> {
  if (memory === null) return { maxConcurrentActivityTaskExecutions: most };
  return {
    // As many of the others as the SDK has by default.
    tuner: {
      workflowTaskSlotSupplier: { type: 'fixed-size', numSlots: 40 },
      activityTaskSlotSupplier: boundedSlots(most, () => residentBytes() >= memory),
      localActivityTaskSlotSupplier: { type: 'fixed-size', numSlots: 100 },
      nexusTaskSlotSupplier: { type: 'fixed-size', numSlots: 100 },
    },
    // Polls that are under way when the bound is reached still bring a task each.
    maxConcurrentActivityTaskPolls: Math.min(2, most),
  };
}

/** Runs move to the current version of a deployment: recorded histories hold us to replaying what earlier versions began. */
function deploymentOf(version: NonNullable<WorkerOptions['version']>): NonNullable<SdkOptions['workerDeploymentOptions']> {
  return { version, useWorkerVersioning: true, defaultVersioningBehavior: 'AUTO_UPGRADE' };
}
