/** `ckpt worker` and `ckpt dev`: a worker, and where no server is configured the embedded one, until a signal ends them. */
import { startWorker } from '../../worker.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { TASK_QUEUE } from '../../../pipeline/contract.ts';
import { logger, note, type OutputOptions } from '../output.ts';

export async function worker(options: OutputOptions): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    const running = await startWorker({ connection: temporal.nativeOptions, namespace: temporal.namespace });
    note(`Worker polls \`${TASK_QUEUE}\` at ${temporal.address} (${temporal.kind}). Ctrl-C stops it.`);
    if (temporal.uiUrl !== null) note(`Temporal UI: ${temporal.uiUrl}`);
    const stopped = new Promise<void>((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
    await Promise.race([stopped, running.ended]);
    await running.stop();
  } finally {
    await temporal.close();
  }
}
