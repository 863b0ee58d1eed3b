/** `ckpt worker` and `ckpt dev`: a worker, and where no server is configured the embedded one, until a signal ends them. */
import { hostname } from 'node:os';
import { CheckpointError } from '../../../errors.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { pollersOf } from '../../temporal/visibility.ts';
import { configuredStorage } from '../../storage.ts';
import { TASK_QUEUE } from '../../../pipeline/contract.ts';
import { logger, note, type OutputOptions } from '../output.ts';

export interface WorkerCommandOptions extends OutputOptions {
  readonly check?: boolean;
  readonly refuseUnknown?: boolean;
  readonly plugins?: readonly string[];
  readonly storage?: string;
}

export async function worker(options: WorkerCommandOptions): Promise<void> {
  if (options.check === true) return check(options);
  const temporal = await connectTemporal({ log: logger(options), keeps: true });
  try {
    const { startWorker } = await import('../../worker.ts');
    // Whoever reaches a configured server may start pipelines here; the embedded one is the user's own.
    const storage = await configuredStorage({ file: options.storage, inputs: temporal.kind === 'configured' ? 'anybody' : 'own' });
    const running = await startWorker({
      connection: temporal.nativeOptions,
      namespace: temporal.namespace,
      storage,
      refuseUnknown: options.refuseUnknown === true,
      plugins: options.plugins ?? [],
    });
    note(`Worker polls \`${TASK_QUEUE}\` at ${temporal.address} (${temporal.kind}). Ctrl-C stops it.`);
    if (temporal.uiUrl !== null) note(`Temporal UI: ${temporal.uiUrl}`);
    const stopped = new Promise<void>((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
    await Promise.race([stopped, running.ended]);
    await running.stop();
  } finally {
    await temporal.close();
  }
}

/** For a container's health check. A worker is known to the server as `pid@host`, and a container has a host name of its own. */
async function check(options: OutputOptions): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    const pollers = await pollersOf(temporal);
    if (pollers.some((identity) => identity.endsWith(`@${hostname()}`))) return;
    throw new CheckpointError(
      `No worker of this machine (${hostname()}) polls \`${TASK_QUEUE}\` at ${temporal.address}. Start one with \`ckpt worker\`.`,
      { retryable: false, details: { pollers } },
    );
  } finally {
    await temporal.close();
  }
}
