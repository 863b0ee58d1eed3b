/** `ckpt worker` and `ckpt dev`: a worker, and where no server is configured the embedded one, until a signal ends them. */
import { hostname } from 'node:os';
import { CheckpointError } from '../../../errors.ts';
import { pollersOf } from '../../client.ts';
import { attributesNote, registeredAttributes } from '../../temporal/search-attributes.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { TASK_QUEUE } from '../../../pipeline/contract.ts';
import { logger, note, type OutputOptions } from '../output.ts';

export async function worker(options: OutputOptions & { readonly check?: boolean; readonly plugins?: readonly string[] }): Promise<void> {
  if (options.check === true) return check(options);
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    const { startWorker } = await import('../../worker.ts');
    const running = await startWorker({
      connection: temporal.nativeOptions,
      namespace: temporal.namespace,
      plugins: options.plugins ?? [],
    });
    note(`Worker polls \`${TASK_QUEUE}\` at ${temporal.address} (${temporal.kind}). Ctrl-C stops it.`);
    const lacking = await registeredAttributes(temporal.connection, temporal.namespace).then(attributesNote, () => null);
    if (lacking !== null) note(lacking);
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
    const pollers = await pollersOf(temporal.connection, temporal.namespace);
    if (pollers.some((identity) => identity.endsWith(`@${hostname()}`))) return;
    throw new CheckpointError(
      `No worker of this machine (${hostname()}) polls \`${TASK_QUEUE}\` at ${temporal.address}. Start one with \`ckpt worker\`.`,
      { retryable: false, details: { pollers } },
    );
  } finally {
    await temporal.close();
  }
}
