/**
 * Where the rows are played: inputs, a scratch folder, one embedded server for all rows with a state folder of its own, and the
 * command as users run it.
 *
 * Invariant: nothing of the user's (state, workspace, running servers) is touched, and the scratch folder is gone at the end.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { readEnvironment } from '../src/app/environment.ts';
import { acquireDevServer } from '../src/app/temporal/dev-server/acquire.ts';
import type { Json } from '../src/errors.ts';
import type { PipelineResult } from '../src/pipeline/contract.ts';
import { provideInput, RECIPES, type Input, type InputName } from './inputs/recipes.ts';
import { runProgram, type Finished } from './process.ts';
import { CKPT } from './project.ts';

export interface SceneOptions {
  readonly quick: boolean;
  /** Runs of each thing; null: what the row says. */
  readonly runs: number | null;
  /** Folder that keeps inputs from run to run. */
  readonly inputs: string;
  /** A Python with torch and safetensors. */
  readonly python: string | null;
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
  /** Runs the command to its end. */
  ckpt(...args: readonly string[]): Promise<Finished>;
  /** A bare Node, under the same conditions. */
  node(...args: readonly string[]): Promise<Finished>;
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
    ckpt: (...args) => runProgram(process.execPath, [...CKPT, ...args], { env, cwd: scratch }),
    node: (...args) => runProgram(process.execPath, args, { env, cwd: scratch }),
    async close() {
      await server?.then(({ stop }) => stop());
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

async function startServer(): Promise<Server & { readonly stop: () => Promise<void> }> {
  const { address, release } = await acquireDevServer({ log: () => undefined, environment: readEnvironment(), hasWorker: false });
  const connection = await Connection.connect({ address });
  return {
    address,
    client: new Client({ connection }),
    stop: () => connection.close().finally(release),
  };
}

export interface Conversion extends Finished {
  /** Epoch milliseconds. */
  readonly began: number;
  readonly result: PipelineResult;
}

/** Options of a stage beside its type. */
type StageOptions = Readonly<Record<string, Json>>;

/** The usual pipeline over a checkpoint, with modifiers where there are some, run by the command with its worker in its own process. */
export async function convert(
  scene: Scene,
  source: string,
  target: string,
  modifiers: readonly BenchStage[] = [],
  sink: StageOptions = {},
): Promise<Conversion> {
  await scene.server();
  const document = join(scene.scratch, 'pipeline.json');
  await writeFile(document, JSON.stringify(conversion(source, target, modifiers, sink)));
  const began = Date.now();
  const finished = await scene.ckpt('run', document, '--json');
  return { ...finished, began, result: JSON.parse(finished.stdout) as PipelineResult };
}

export interface BenchStage {
  readonly type: string;
  readonly [option: string]: Json;
}

export function conversion(
  source: string,
  target: string,
  modifiers: readonly BenchStage[] = [],
  sink: StageOptions = {},
): { readonly name: string; readonly stages: readonly BenchStage[] } {
  const from = source.includes('://')
    ? { type: source.startsWith('s3://') ? 'source.s3' : 'source.http', url: source }
    : { type: 'source.local', path: source };
  return { name: 'bench', stages: [from, { type: 'loader.weights_only' }, ...modifiers, { type: 'sink.publish', uri: target, ...sink }] };
}

/** A run by the server's clock, which on an embedded server is this machine's: epoch milliseconds, and milliseconds of each stage. */
export interface RunTimes {
  readonly started: number;
  readonly closed: number;
  /** From the start of the activity on the worker to its completion. */
  readonly stages: ReadonlyMap<string, number>;
}

export async function runTimes(scene: Scene, workflowId: string): Promise<RunTimes> {
  const { client } = await scene.server();
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  const types = new Map<string, string>();
  const starts = new Map<string, { readonly type: string; readonly at: number }>();
  const stages = new Map<string, number>();
  const times = (events ?? []).map((event) => {
    const at = Number(event.eventTime?.seconds ?? 0) * 1000 + (event.eventTime?.nanos ?? 0) / 1e6;
    const scheduled = event.activityTaskScheduledEventAttributes;
    const started = event.activityTaskStartedEventAttributes;
    const completed = event.activityTaskCompletedEventAttributes;
    if (scheduled) types.set(String(event.eventId), scheduled.activityType?.name ?? '');
    if (started) starts.set(String(event.eventId), { type: types.get(String(started.scheduledEventId)) ?? '', at });
    const start = completed ? starts.get(String(completed.startedEventId)) : undefined;
    if (start !== undefined) stages.set(start.type, at - start.at);
    return at;
  });
  return { started: times[0] ?? Number.NaN, closed: times.at(-1) ?? Number.NaN, stages };
}
