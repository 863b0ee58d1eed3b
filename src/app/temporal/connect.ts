/** Which Temporal server: the configured one, one on the default local port, or the embedded one. */
import { Connection, type ConnectionOptions } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { CheckpointConfigError, textOf } from '../../errors.ts';
import { readEnvironment, type Environment } from '../environment.ts';
import { registerAttributes } from './search-attributes.ts';
import { acquireDevServer, answers, runningServer, type DevServer } from './dev-server.ts';

const LOCAL_ADDRESS = '127.0.0.1:7233';
const LOCAL_UI = 'http://127.0.0.1:8233';
/** Milliseconds to reach a configured server. */
const CONNECT_TIMEOUT = 10_000;

export interface TemporalAccess {
  readonly kind: 'configured' | 'local' | 'embedded';
  readonly connection: Connection;
  /** For the worker's own connection. */
  readonly nativeOptions: NativeConnectionOptions;
  readonly namespace: string;
  readonly address: string;
  readonly uiUrl: string | null;
  close(): Promise<void>;
}

export async function connectTemporal({
  log,
  environment = readEnvironment(),
}: {
  readonly log: (line: string) => void;
  readonly environment?: Environment;
}): Promise<TemporalAccess> {
  const { connectionOptions, namespace = 'default' } = configuration();
  const { uiUrl } = environment;
  if (connectionOptions.address !== undefined) {
    const address = connectionOptions.address;
    log(`temporal: configured server ${address}`);
    const connection = await connect(connectionOptions, address);
    return {
      kind: 'configured',
      connection,
      nativeOptions: connectionOptions as NativeConnectionOptions,
      namespace,
      address,
      uiUrl,
      close: () => connection.close(),
    };
  }
  const ours = await runningServer(environment.stateFolder);
  if (ours === null && (await answers(LOCAL_ADDRESS))) {
    log(`temporal: server on the default local port`);
    return access('local', LOCAL_ADDRESS, uiUrl ?? LOCAL_UI, namespace, async () => undefined);
  }
  const server: DevServer = await acquireDevServer({ log, environment });
  try {
    const found = await access('embedded', server.address, uiUrl ?? server.uiUrl, namespace, () => server.release());
    // Runs do without them.
    await registerAttributes(found.connection, namespace).catch((error: unknown) => log(`temporal: ${textOf(error)}`));
    return found;
  } catch (error) {
    await server.release();
    throw error;
  }
}

async function access(
  kind: 'local' | 'embedded',
  address: string,
  uiUrl: string,
  namespace: string,
  release: () => Promise<void>,
): Promise<TemporalAccess> {
  const connection = await connect({ address }, address);
  return { kind, connection, nativeOptions: { address }, namespace, address, uiUrl, close: () => connection.close().finally(release) };
}

function configuration(): { readonly connectionOptions: ConnectionOptions; readonly namespace?: string } {
  try {
    return loadClientConnectConfig() as { connectionOptions: ConnectionOptions; namespace?: string };
  } catch (cause) {
    throw new CheckpointConfigError(
      `Temporal's environment configuration cannot be used: ${textOf(cause)}. Check TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE.`,
      undefined,
      { cause },
    );
  }
}

async function connect(options: ConnectionOptions, address: string): Promise<Connection> {
  try {
    return await Connection.connect({ ...options, connectTimeout: CONNECT_TIMEOUT });
  } catch (cause) {
    throw new CheckpointConfigError(
      `No Temporal server answers at ${address} (${textOf(cause)}). Check TEMPORAL_ADDRESS, the network, and TLS settings; without TEMPORAL_ADDRESS an embedded server is used.`,
      undefined,
      { cause, details: { address } },
    );
  }
}
