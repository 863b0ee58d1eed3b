/**
 * What commands about runs need: a client, and where the server is ours, a worker, as queries, updates and clean-ups need one; another
 * process's that is up will do.
 */
import { CheckpointConfigError } from '../../errors.ts';
import type { CheckpointClient } from '../client.ts';
import { PLUGINS, readEnvironment, withPlugins } from '../environment.ts';
import { connectTemporal, type TemporalAccess } from '../temporal/connect.ts';
import type { RunningWorker, WorkerOptions } from '../worker.ts';
import { logger, note, print, printJson, type OutputOptions } from './output.ts';

export interface Server {
  readonly client: CheckpointClient;
  readonly temporal: TemporalAccess;
}

export interface ServerOptions extends OutputOptions {
  readonly plugins?: readonly string[];
}

/** Of a command that starts runs. */
export interface StartingOptions extends ServerOptions {
  readonly detach?: boolean;
  readonly worker?: boolean;
}

export async function withServer<T>(options: ServerOptions, act: (server: Server) => Promise<T>): Promise<T> {
  const temporal = await connect(options);
  try {
    const own = temporal.kind !== 'configured' && temporal.differsIn.length === 0;
    const worker = own ? await ownWorker(temporal, { plugins: options.plugins ?? [], oneRun: true }) : null;
    try {
      return await act({ client: await clientOf(temporal), temporal });
    } finally {
      await worker?.stop();
    }
  } finally {
    await temporal.close();
  }
}

/** To the server of the command's runs, for which this process may have a worker. */
export function connect(options: StartingOptions): Promise<TemporalAccess> {
  return connectTemporal({
    log: logger(options),
    note,
    hasWorker: options.detach !== true,
    environment: withPlugins(readEnvironment(), options.plugins),
    meanwhile: loadSdk,
  });
}

/** Whether a worker of this process is to take the runs that the command starts; `CheckpointConfigError` where nobody could, or one that must not. */
export function takesItsRuns(temporal: TemporalAccess, { detach = false, worker = false, plugins = [] }: StartingOptions): boolean {
  if (detach) {
    checkStays(temporal, '`--detach`');
    return false;
  }
  if (isServed(temporal, plugins)) return false;
  checkAlike(temporal);
  return temporal.kind !== 'configured' || worker;
}

/** The modules of clients and workers are most of what a command loads: not before they are needed, or there is time. */
export function loadSdk(): void {
  for (const module of [import('../client.ts'), import('../worker.ts')]) module.catch(() => undefined);
}

/** A worker in this process, for what the command asks of the server. */
export async function ownWorker(
  { kind, nativeOptions: connection, namespace }: TemporalAccess,
  options: Pick<WorkerOptions, 'plugins' | 'oneRun' | 'storage'>,
): Promise<RunningWorker> {
  const [{ startWorker }, { boundHeapGrowth }] = await Promise.all([import('../worker.ts'), import('../heap.ts')]);
  if (options.oneRun !== true) boundHeapGrowth();
  return startWorker({ ...options, connection, namespace, scaleOut: kind === 'configured' });
}

export async function clientOf({ connection, namespace }: TemporalAccess): Promise<CheckpointClient> {
  const { CheckpointClient: Client } = await import('../client.ts');
  return new Client({ connection, namespace }, { note });
}

/** The worker that another command keeps up has stages beside ours, and does what needs none of them. */
function isServed({ stays, differsIn }: TemporalAccess, plugins: readonly string[]): boolean {
  return stays && plugins.length === 0 && differsIn.length === 1 && differsIn[0] === PLUGINS;
}

/** Says what was started and is left to others; `run_id` where programs are told. */
export function noteStarted(
  temporal: TemporalAccess,
  started: { readonly workflow_id: string; readonly run_id?: string },
  options: OutputOptions,
): void {
  const link = linkOf(temporal, started.workflow_id);
  if (options.json === true) printJson({ ...started, link });
  else print([`Started ${started.workflow_id}`, ...(link === null ? [] : [link])]);
}

/** Says where that is so that the server which knows the run ends with this command. */
export function noteServerEnds({ stays }: TemporalAccess): void {
  if (!stays) note('The embedded server stops with this command; `ckpt dev` brings it and its UI back.');
}

/** What is left to others needs a server, and a worker, that outlive this command. */
export function checkStays({ stays }: TemporalAccess, what: string): void {
  if (stays) return;
  throw new CheckpointConfigError(
    `${what} needs a server and a worker that outlive this command: keep \`ckpt dev\` up in another terminal, or set TEMPORAL_ADDRESS.`,
  );
}

/** All workers of a server take from each other's runs: one that may reach other things, or as somebody else, must not be among them. */
export function checkAlike({ differsIn }: TemporalAccess): void {
  if (differsIn.length === 0) return;
  throw new CheckpointConfigError(
    `Another ckpt process serves the runs of the embedded server, with other settings: ${differsIn.join(', ')}. Either process would do the other's work, with its own. Give both the same, stop the other one, or give this one a server of its own: set XDG_STATE_HOME to another folder.`,
    undefined,
    { details: { reason: 'other_settings', variables: differsIn } },
  );
}

/** Of a workflow in the Temporal UI; null where nobody knows where that is, or it goes when this command does. */
export function linkOf(temporal: TemporalAccess, workflowId: string): string | null {
  return temporal.stays ? passingLinkOf(temporal, workflowId) : null;
}

/** The same, for as long as this command runs. */
export function passingLinkOf({ uiUrl, namespace }: TemporalAccess, workflowId: string): string | null {
  return uiUrl === null ? null : `${uiUrl}/namespaces/${namespace}/workflows/${encodeURIComponent(workflowId)}`;
}
