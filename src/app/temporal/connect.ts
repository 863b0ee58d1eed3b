/** Which Temporal server: the configured one, one on the default local port, or the embedded one. */
import type { Connection, ConnectionOptions } from '@temporalio/client';
import { loadClientConfigProfile, toClientOptions, type ClientConfigTLS } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { CheckpointConfigError, textOf } from '../../errors.ts';
import { readEnvironment, temporalVariables, type Environment } from '../environment.ts';
import type { OpenConnection } from './connection.ts';
import { answers } from './dev-server/bring-up.ts';
import { runningServer } from './dev-server/server-record.ts';
import type { ClientTls } from './handshake.ts';
import { acquireDevServer, isKept, placesOf, type DevServer } from './dev-server/acquire.ts';

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
  /** It outlives this command: a configured or local one, or an embedded one that another command keeps up. */
  readonly stays: boolean;
  /** Variables in which a process differs whose worker is up at the same embedded server. */
  readonly differsIn: readonly string[];
  /** Of an embedded server that this command holds: rejects with a `CheckpointError` once its process is gone. Null: who keeps the server up brings it back. */
  readonly gone: ((signal: AbortSignal) => Promise<never>) | null;
  close(): Promise<void>;
}

interface Search {
  readonly log: (line: string) => void;
  /** Takes a line for people about what takes a while. */
  readonly note?: (line: string) => void;
  /** This command keeps an embedded server, and a worker, up until it is stopped. */
  readonly keeps?: boolean;
  /** This command runs a worker of its own, where the server is ours; default: true. */
  readonly hasWorker?: boolean;
  /** Called where a server is coming up, which takes as long as to load the SDK: who needs its modules loads them then. */
  readonly meanwhile?: () => void;
  readonly environment?: Environment;
}

/** The configured server; else the embedded one of another command; else one on the default local port; else one brought up for this command. */
export async function connectTemporal({
  log,
  note,
  keeps = false,
  hasWorker = true,
  meanwhile,
  environment = readEnvironment(),
}: Search): Promise<TemporalAccess> {
  const found = await connectOther(log, environment);
  if (found !== null) return found;
  const namespace = configuredNamespace();
  const server: DevServer = await acquireDevServer({ log, note, environment, keeps, hasWorker, meanwhile });
  try {
    const uiUrl = environment.uiUrl ?? server.uiUrl;
    const access = await accessOf(
      { kind: 'embedded', stays: server.stays, address: server.address, uiUrl, namespace, differsIn: server.differsIn, gone: server.gone },
      () => server.release(),
    );
    const { registerAttributes } = await import('./search-attributes.ts');
    // Runs do without them.
    await registerAttributes(access.connection, namespace).catch((error: unknown) => log(`temporal: ${textOf(error)}`));
    return access;
  } catch (error) {
    await server.release();
    throw error;
  }
}

/** A server that is up already; `CheckpointConfigError` where there is none. It is not kept up for this process. */
export async function connectExisting(environment: Environment = readEnvironment()): Promise<TemporalAccess> {
  const found = await findExisting(environment);
  if (found !== null) return found;
  throw new CheckpointConfigError(
    `No Temporal server is configured, and none answers at ${LOCAL_ADDRESS}. Set TEMPORAL_ADDRESS, or keep \`ckpt dev\` up.`,
    undefined,
    { details: { address: LOCAL_ADDRESS } },
  );
}

/** The same, or null where there is none. */
export async function findExisting(environment: Environment): Promise<TemporalAccess | null> {
  const found = await connectOther(() => undefined, environment);
  if (found !== null) return found;
  const ours = await runningServer(environment.stateFolder);
  const namespace = configuredNamespace();
  if (ours === null) return null;
  const { address, uiUrl } = placesOf(ours);
  const stays = await isKept(environment.stateFolder);
  return accessOf({ kind: 'embedded', stays, address, uiUrl: environment.uiUrl ?? uiUrl, namespace });
}

/** One that is none of ours. */
async function connectOther(log: (line: string) => void, environment: Environment): Promise<TemporalAccess | null> {
  const { connectionOptions } = configuration();
  const namespace = configuredNamespace();
  const { uiUrl, stateFolder } = environment;
  const { address } = connectionOptions;
  // An empty variable counts as unset, as those of our own do.
  if (address !== undefined && address !== '') {
    log(`temporal: configured server ${address}`);
    const open = await connect(connectionOptions, address);
    const nativeOptions = connectionOptions as NativeConnectionOptions;
    return {
      kind: 'configured',
      stays: true,
      differsIn: [],
      gone: null,
      ...open,
      nativeOptions,
      namespace,
      address,
      uiUrl,
    };
  }
  if ((await runningServer(stateFolder)) !== null || !(await answers(LOCAL_ADDRESS))) return null;
  log(`temporal: server on the default local port`);
  return accessOf({ kind: 'local', stays: true, address: LOCAL_ADDRESS, uiUrl: uiUrl ?? LOCAL_UI, namespace });
}

async function accessOf(
  found: Pick<TemporalAccess, 'kind' | 'stays' | 'address' | 'uiUrl' | 'namespace'> & Partial<Pick<TemporalAccess, 'differsIn' | 'gone'>>,
  release: () => Promise<void> = async () => undefined,
): Promise<TemporalAccess> {
  const { address } = found;
  const { connection, close } = await connect({ address }, address);
  return { differsIn: [], gone: null, ...found, connection, nativeOptions: { address }, close: () => close().finally(release) };
}

/** Of Temporal's configuration; the clients' default where it names none. */
export function configuredNamespace(): string {
  return configuration().namespace || 'default';
}

function configuration(): { readonly connectionOptions: ConnectionOptions; readonly namespace?: string } {
  try {
    const profile = loadClientConfigProfile();
    const options = toClientOptions(profile) as { connectionOptions: ConnectionOptions; namespace?: string };
    checkPair(profile.tls);
    return options;
  } catch (cause) {
    // Of a file that is not TOML the message goes on with its lines, in which an API key may stand.
    const [what = ''] = textOf(cause).split('\n', 1);
    const { line, column } = cause as { readonly line?: unknown; readonly column?: unknown };
    const place = typeof line === 'number' && typeof column === 'number' ? ` at line ${line}, column ${column}` : '';
    throw new CheckpointConfigError(`Temporal's environment configuration cannot be used: ${what}${place}. ${configurationAdvice(cause)}`);
  }
}

/** The SDK takes neither where one is missing, and then the server refuses who shows none. */
function checkPair({ clientCert, clientKey, disabled }: ClientConfigTLS = {}): void {
  if (disabled === true || (clientCert === undefined) === (clientKey === undefined)) return;
  const [there, missing] = clientKey === undefined ? ['certificate', 'KEY'] : ['key', 'CERT'];
  throw new Error(
    `it names the ${there} of a client alone. Set TEMPORAL_TLS_CLIENT_${missing}_PATH or TEMPORAL_TLS_CLIENT_${missing}_DATA as well, or \`client_${missing.toLowerCase()}_path\` in the profile`,
  );
}

/** Which variable to look at, as far as the SDK's error tells. */
function configurationAdvice(cause: unknown): string {
  const { path } = cause as { readonly path?: unknown };
  if (typeof path === 'string') {
    const variables = temporalVariables(path);
    if (variables.length > 0) return `Check ${variables.join(' and ')}: it names that file.`;
    return 'The profile of TEMPORAL_PROFILE (default: `default`) in TEMPORAL_CONFIG_FILE, or in the default file, names that file.';
  }
  const field = /both (\w+)_path and/.exec(textOf(cause))?.[1]?.toUpperCase();
  if (field !== undefined)
    return `Keep one of TEMPORAL_TLS_${field}_PATH and TEMPORAL_TLS_${field}_DATA, or of what the profile says of it.`;
  return 'Check TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE.';
}

function tlsOf({ tls, apiKey }: ConnectionOptions): ClientTls | null {
  const set = tls ?? apiKey !== undefined;
  if (typeof set === 'object') return set as ClientTls;
  return set === true ? {} : null;
}

async function connect(options: ConnectionOptions, address: string): Promise<OpenConnection> {
  const { openConnection } = await import('./connection.ts');
  let open: OpenConnection | undefined;
  try {
    open = openConnection({ ...options, connectTimeout: CONNECT_TIMEOUT });
    await open.connection.ensureConnected();
    return open;
  } catch (cause) {
    await open?.close();
    // Only where it was not the server itself that refused.
    const { whyUnreachable } = await import('./handshake.ts');
    const why = /deadline/i.test(textOf(cause)) ? await whyUnreachable(address, tlsOf(options)) : null;
    throw new CheckpointConfigError(
      `No Temporal server answers at ${address} (${textOf(cause)}${why === null ? '' : `: ${why}`}). Check TEMPORAL_ADDRESS, the network, and TLS settings; without TEMPORAL_ADDRESS an embedded server is used.`,
      undefined,
      { cause, details: { address } },
    );
  }
}
