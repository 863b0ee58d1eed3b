/** The services of docker-compose.yml as processes of this machine: their commands and environments as they stand, addresses replaced. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';
import { PROJECT_ROOT } from './project.ts';

export interface Service {
  readonly image: string;
  readonly build?: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly healthcheck?: { readonly test: readonly string[] };
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly configs: Readonly<Record<string, { readonly content: string }>>;
}

export function composeFile(): ComposeFile {
  return parse(readFileSync(join(PROJECT_ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as ComposeFile;
}

/** As compose does with none of the variables set: `${NAME:-default}`, and `$$` for a dollar. */
export function interpolate(text: string): string {
  return text.replaceAll(/\$\$|\$\{\w+:-([^}]*)\}/g, (found, fallback: string | undefined) => (found === '$$' ? '$' : (fallback ?? '')));
}

export interface Process {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly said: () => string;
}

/** What in a compose file is true in its network alone, and what stands for it here. */
export type Replacements = Readonly<Record<string, string>>;

export function here(text: string, replacements: Replacements): string {
  return Object.entries(replacements).reduce((now, [there, local]) => now.replaceAll(there, local), interpolate(text));
}

interface RunOptions {
  readonly replacements: Replacements;
  /** Before the service's own command: what its image has as entrypoint. */
  readonly program: readonly string[];
  readonly cwd: string;
  /** Folders before PATH. */
  readonly path?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export function runService({ entrypoint, command = [], environment = {} }: Service, options: RunOptions): Process {
  const [name, ...args] = [...(entrypoint ?? options.program), ...command].map((word) => here(word, options.replacements));
  const own = Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, here(value, options.replacements)]));
  const env = {
    HOME: options.cwd,
    PATH: [...(options.path ?? []), process.env['PATH']].join(':'),
    ...own,
    ...options.env,
  };
  return watch(spawn(name!, args, { cwd: options.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] }));
}

/** A test run that is ended must leave none behind. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export function watch(child: ChildProcess): Process {
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-20_000)));
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)).once('error', () => resolve(null)));
  running.add(child);
  void ended.then(() => running.delete(child));
  return { child, ended, said: () => said };
}

export async function stop({ child, ended }: Process): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await ended.finally(() => clearTimeout(force));
}

/** Until it holds; a process that ends before is an error that shows what it said. */
export async function ready({ child, said }: Process, holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${child.spawnfile} ended: ${said()}`);
    await sleep(100);
  }
}

/** PostgreSQL's programs of this machine; null where there are none. */
export function postgresFolder(): string | null {
  const found = spawnSync('sh', ['-c', 'pg_config --bindir; ls -d /usr/lib/postgresql/*/bin'], { encoding: 'utf8' });
  const folders = (found.stdout ?? '').split('\n').filter((folder) => folder !== '');
  return folders.find((folder) => spawnSync(join(folder, 'postgres'), ['--version']).status === 0) ?? null;
}

/** PostgreSQL refuses to be root: its own user then. Null: this one. */
export function postgresUser(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  const id = (flag: string): number => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
  return { uid: id('-u'), gid: id('-g') };
}
