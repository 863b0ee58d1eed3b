/**
 * Where the rows are played: inputs, a scratch folder, one embedded server for all rows with a state folder of its own, and the
 * command as users run it.
 *
 * Invariant: nothing of the user's (state, workspace, running servers) is touched, and the scratch folder is gone at the end.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { acquireDevServer } from '../src/app/temporal/dev-server.ts';
import type { PipelineResult } from '../src/pipeline/contract.ts';
import { provideInput, RECIPES, type Input, type InputName } from './inputs/recipes.ts';
import { CKPT } from './project.ts';
import { runProgram, type Finished } from './process.ts';

export interface SceneOptions {
  readonly quick: boolean;
  /** Runs of each thing; null: what the row says. */
  readonly runs: number | null;
  /** Folder that keeps inputs from run to run. */
  readonly inputs: string;
  /** A Python with torch and safetensors. */
  readonly python: string | null;
  /** Folder for CPU profiles of the command; null: none are made. */
  readonly profiles: string | null;
  readonly say: (line: string) => void;
}

export interface Server {
  readonly address: string;
  readonly client: Client;
}

export interface Scene extends SceneOptions {
  readonly scratch: string;
  /** Environment of the command: the bench's own state folder, no configured server. */
  readonly env: NodeJS.ProcessEnv;
  input(name: InputName): Promise<Input>;
  server(): Promise<Server>;
  /** Runs the command to its end, under the profiler where profiles are wanted. */
  ckpt(...args: readonly string[]): Promise<Finished>;
  close(): Promise<void>;
}

export async function openScene(options: SceneOptions): Promise<Scene> {
  await mkdir(options.inputs, { recursive: true });
  // Beside the inputs: copying must not cross file systems.
  const scratch = await mkdtemp(join(options.inputs, 'run-'));
  const settings = { XDG_STATE_HOME: join(scratch, 'state'), CKPT_WORKSPACE: join(scratch, 'workspace') };
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_') || name === 'TEMPORAL_CLI_PATH');
  const env = { ...Object.fromEntries(inherited), ...settings };
  // Our own lease on the server lies in the same state folder as the command's.
  process.env['XDG_STATE_HOME'] = settings.XDG_STATE_HOME;
  let server: Promise<Server & { readonly stop: () => Promise<void> }> | null = null;
  return {
    ...options,
    scratch,
    env,
    input: (name) => provideInput(options.inputs, RECIPES[options.quick ? 'quick' : 'full'][name], options.say),
    server: () => (server ??= startServer()),
    ckpt: (...args) => runProgram(process.execPath, [...profiling(options.profiles), CKPT, ...args], { env, cwd: scratch }),
    async close() {
      await server?.then(({ stop }) => stop());
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

function profiling(folder: string | null): readonly string[] {
  return folder === null ? [] : ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${folder}`];
}

async function startServer(): Promise<Server & { readonly stop: () => Promise<void> }> {
  const { address, release } = await acquireDevServer({ log: () => undefined });
  const connection = await Connection.connect({ address });
  return {
    address,
    client: new Client({ connection }),
    stop: () => connection.close().finally(release),
  };
}

/** The usual pipeline over a checkpoint, run by the command with its worker in its own process. */
export async function convert(scene: Scene, source: string, target: string): Promise<Finished & { readonly result: PipelineResult }> {
  await scene.server();
  const document = join(scene.scratch, 'pipeline.json');
  await writeFile(document, JSON.stringify(conversion(source, target)));
  const finished = await scene.ckpt('run', document, '--json');
  return { ...finished, result: JSON.parse(finished.stdout) as PipelineResult };
}

export function conversion(source: string, target: string): { name: string; stages: { type: string; [option: string]: string }[] } {
  return {
    name: 'bench',
    stages: [{ type: 'source.local', path: source }, { type: 'loader.weights_only' }, { type: 'sink.publish', uri: target }],
  };
}

/** Milliseconds of each activity of a run, from its start on the worker to its completion, as the server's history has them. */
export async function stageTimes(scene: Scene, workflowId: string): Promise<ReadonlyMap<string, number>> {
  const { client } = await scene.server();
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  const types = new Map<string, string>();
  const starts = new Map<string, { readonly type: string; readonly at: number }>();
  const times = new Map<string, number>();
  for (const event of events ?? []) {
    const at = Number(event.eventTime?.seconds ?? 0) * 1000 + (event.eventTime?.nanos ?? 0) / 1e6;
    const scheduled = event.activityTaskScheduledEventAttributes;
    const started = event.activityTaskStartedEventAttributes;
    const completed = event.activityTaskCompletedEventAttributes;
    if (scheduled) types.set(String(event.eventId), scheduled.activityType?.name ?? '');
    if (started) starts.set(String(event.eventId), { type: types.get(String(started.scheduledEventId)) ?? '', at });
    const start = completed ? starts.get(String(completed.startedEventId)) : undefined;
    if (start !== undefined) times.set(start.type, at - start.at);
  }
  return times;
}
