/** What commands about runs need: a client, and where the server is ours, a worker, as queries, updates and clean-ups need one. */
import type { Client } from '@temporalio/client';
import { clientOf } from '../client.ts';
import { connectTemporal, type TemporalAccess } from '../temporal/connect.ts';
import { logger, type OutputOptions } from './output.ts';

export interface Server {
  readonly client: Client;
  readonly temporal: TemporalAccess;
}

export async function withServer<T>(options: OutputOptions, act: (server: Server) => Promise<T>): Promise<T> {
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    const worker =
      temporal.kind === 'configured'
        ? null
        : await (
            await import('../worker.ts')
          ).startWorker({ connection: temporal.nativeOptions, namespace: temporal.namespace, oneRun: true });
    try {
      return await act({ client: clientOf(temporal.connection, temporal.namespace), temporal });
    } finally {
      await worker?.stop();
    }
  } finally {
    await temporal.close();
  }
}
