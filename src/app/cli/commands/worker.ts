/** `ckpt worker` and `ckpt dev`: a worker, and where no server is configured the embedded one, until a signal ends them. */
import { hostname } from 'node:os';
import { CheckpointConfigError, CheckpointError, textOf } from '../../../errors.ts';
import { TASK_QUEUE, TRANSFER_QUEUE } from '../../../pipeline/contract.ts';
import { addressText, type Address } from '../../addresses.ts';
import { readEnvironment, withPlugins, withStorageFile } from '../../environment.ts';
import { serveHealth, type WorkerHealth } from '../../health.ts';
import { workerStorage } from '../../storage.ts';
import { connectTemporal, type TemporalAccess } from '../../temporal/connect.ts';
import { passedBy, passedWords } from '../../temporal/versions.ts';
import { livePollsOf, pollersOf, routingOf, type Place, type Version } from '../../temporal/visibility.ts';
import { workerSettings, type WorkerFlags, type WorkerSettings } from '../../worker-settings.ts';
import type { RunningWorker } from '../../worker.ts';
import { STOPPING } from '../interrupt.ts';
import { logger, note, type OutputOptions } from '../output.ts';
import { checkAlike, loadSdk } from '../with-server.ts';

const STARTING: WorkerHealth = { queues: [], server: 'the worker is starting' };

export interface WorkerCommandOptions extends OutputOptions, WorkerFlags {
  readonly check?: boolean;
  readonly refuseUnknown?: boolean;
  readonly plugins?: readonly string[];
  readonly storage?: string;
}

export async function worker(options: WorkerCommandOptions): Promise<void> {
  const settings = workerSettings(options);
  if (options.check === true) return settings.health === null ? checkPollers(options, settings) : checkHealth(settings.health);
  let running: RunningWorker | null = null;
  // First: a process that is asked how it does while it starts says so.
  const health = settings.health === null ? null : await serveHealth(settings.health, async (look) => running?.health(look) ?? STARTING);
  try {
    const environment = withPlugins(withStorageFile(readEnvironment(), options.storage), options.plugins);
    const temporal = await connectTemporal({ log: logger(options), note, keeps: true, environment, meanwhile: loadSdk });
    try {
      checkAlike(temporal);
      running = await start(temporal, options, settings);
      note(`Worker polls \`${running.queues.join('` and `')}\` at ${temporal.address} (${temporal.kind}). Ctrl-C stops it.`);
      if (health !== null) note(`Health: http://${health.address}/healthz and /readyz`);
      if (settings.metrics !== null) note(`Metrics: http://${addressText(settings.metrics)}/metrics`);
      if (temporal.uiUrl !== null) note(`Temporal UI: ${temporal.uiUrl}`);
      const stopped = new Promise<void>((resolve) => {
        for (const signal of STOPPING) process.once(signal, () => resolve());
      });
      void noteVersion(temporal, running.queues[0]!, [settings.version]);
      const over = new AbortController();
      // Also where it has failed: what it holds open would keep the process.
      await Promise.race([stopped, running.ended, ...(temporal.gone === null ? [] : [temporal.gone(over.signal)])])
        .finally(() => over.abort())
        .finally(running.stop);
    } finally {
      await temporal.close();
    }
  } finally {
    await health?.close();
  }
}

async function start(temporal: TemporalAccess, options: WorkerCommandOptions, settings: WorkerSettings): Promise<RunningWorker> {
  const [{ startWorker }, { boundHeapGrowth }] = await Promise.all([import('../../worker.ts'), import('../../heap.ts')]);
  const { capacity, metrics, version } = settings;
  boundHeapGrowth();
  // Whoever reaches a configured server may start pipelines here; the embedded one is the user's own.
  const shared = temporal.kind === 'configured';
  if (!shared && (capacity.activities === 0 || capacity.transfers === 0))
    throw new CheckpointConfigError(
      `\`--${capacity.activities === 0 ? 'activities' : 'transfers'} 0\` leaves that work to other workers, which a server that is not configured has no queue for: at ${temporal.address} each worker does all of it. Set TEMPORAL_ADDRESS to share it out.`,
    );
  const storage = await workerStorage({ file: options.storage, inputs: shared ? 'anybody' : 'own', uploads: capacity.uploads });
  return startWorker({
    connection: temporal.nativeOptions,
    namespace: temporal.namespace,
    storage,
    refuseUnknown: options.refuseUnknown === true,
    plugins: options.plugins ?? [],
    capacity,
    scaleOut: shared,
    metrics,
    ...(version === null ? {} : { version }),
    tracing: readEnvironment().traces ? await (await import('../../tracing.ts')).startTracing() : null,
  });
}

/** A worker whose version is not the current one is sound, and gets no new run: somebody has to make it current. */
async function noteVersion(place: Place, queue: string, versions: readonly (Version | null)[]): Promise<void> {
  // A courtesy: a server that does not tell is none that a worker cannot work for.
  const routing = await routingOf(place, queue).catch(() => null);
  const passed = passedBy(queue, versions, routing);
  if (passed === null) return;
  const { message, advice } = passedWords(passed);
  note(`No new runs come here yet: ${message}. ${advice}`);
}

/** For a container's health check, where the worker has an endpoint of its own. */
async function checkHealth(address: Address): Promise<void> {
  const local = address.host === '0.0.0.0' || address.host === '::' ? { ...address, host: '127.0.0.1' } : address;
  const url = `http://${addressText(local)}/readyz`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) }).catch((cause: unknown) => {
    throw new CheckpointError(
      `No worker answers at ${url}: ${textOf(cause instanceof Error ? (cause.cause ?? cause) : cause)}. Start one with \`ckpt worker --health-port ${address.port}\`.`,
      {
        retryable: false,
        cause,
      },
    );
  });
  const text = await answer.text();
  if (!answer.ok) throw new CheckpointError(`The worker at ${url} is not ready: ${text.trim().slice(0, 1000)}`, { retryable: false });
}

/**
 * And where it has none: a worker is known to the server as `pid@host`, and a container has a host name of its own. One that does transfers
 * alone asks for none while it has all hands full: there who has asked in the last minutes counts.
 */
async function checkPollers(options: OutputOptions, { capacity }: WorkerSettings): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options), hasWorker: false });
  try {
    const queue = capacity.activities > 0 ? TASK_QUEUE : TRANSFER_QUEUE;
    const isHere = (identity: string): boolean => identity.endsWith(`@${hostname()}`);
    const polls = await livePollsOf(temporal, queue);
    const pollers = queue === TASK_QUEUE ? polls.map(({ identity }) => identity) : await pollersOf(temporal, queue);
    if (pollers.some(isHere)) {
      const here = polls.filter(({ identity }) => isHere(identity));
      return await noteVersion(
        temporal,
        queue,
        here.map(({ version }) => version),
      );
    }
    throw new CheckpointError(
      `No worker of this machine (${hostname()}) polls \`${queue}\` at ${temporal.address}. Start one with \`ckpt worker\`.`,
      { retryable: false, details: { pollers } },
    );
  } finally {
    await temporal.close();
  }
}
