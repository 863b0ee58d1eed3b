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

/** The server that commands would use and that is up already; null: they would bring up the embedded one. */
export interface LocatedServer {
  readonly kind: TemporalAccess['kind'];
  readonly options: ConnectionOptions & { readonly address: string };
  readonly namespace: string;
  readonly uiUrl: string | null;
}

export async function locateTemporal({ stateFolder, uiUrl }: Environment): Promise<LocatedServer | null> {
  const { connectionOptions, namespace = 'default' } = configuration();
  const { address } = connectionOptions;
  if (address !== undefined) return { kind: 'configured', options: { ...connectionOptions, address }, namespace, uiUrl };
  const ours = await runningServer(stateFolder);
  if (ours !== null)
    return {
      kind: 'embedded',
      options: { address: `127.0.0.1:${ours.port}` },
      namespace,
      uiUrl: uiUrl ?? `http://127.0.0.1:${ours.uiPort}`,
    };
  return (await answers(LOCAL_ADDRESS))
    ? { kind: 'local', options: { address: LOCAL_ADDRESS }, namespace, uiUrl: uiUrl ?? LOCAL_UI }
    : null;
}

export async function connectTemporal({
  log,
  environment = readEnvironment(),
}: {
  readonly log: (line: string) => void;
  readonly environment?: Environment;
}): Promise<TemporalAccess> {
  const located = await locateTemporal(environment);
  if (located !== null && located.kind !== 'embedded') {
    log(`temporal: ${located.kind === 'configured' ? `configured server ${located.options.address}` : 'server on the default local port'}`);
    return access(located);
  }
  const server: DevServer = await acquireDevServer({ log, environment });
  try {
    const { namespace = 'default' } = configuration();
    const found = await access(
      { kind: 'embedded', options: { address: server.address }, namespace, uiUrl: environment.uiUrl ?? server.uiUrl },
      () => server.release(),
    );
    const { connection } = found;
    // Runs do without them.
    await registerAttributes(connection, namespace).catch((error: unknown) => log(`temporal: ${textOf(error)}`));
    return found;
  } catch (error) {
    await server.release();
    throw error;
  }
}

async function access(
  { kind, options, namespace, uiUrl }: LocatedServer,
  release: () => Promise<void> = async () => undefined,
): Promise<TemporalAccess> {
  const { address } = options;
  const connection = await connect(options, address);
  return {
    kind,
    connection,
    // Both kinds of connections take what the environment configuration gives.
    nativeOptions: options as NativeConnectionOptions,
    namespace,
    address,
    uiUrl,
    close: () => connection.close().finally(release),
  };
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

/** Rejects with what to check. */
export async function connect(options: ConnectionOptions, address: string): Promise<Connection> {
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
