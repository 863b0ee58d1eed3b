/** The command line as users meet it: a process, its streams and its exit code. */
import { spawn, type ChildProcess } from 'node:child_process';
import { compiled } from './project.ts';

export const CLI = compiled('src/app/cli/main.js');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Place {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What stderr has said so far. */
  readonly said: () => string;
}

/** Starts `ckpt`, or another command that runs it, with the settings of `env` and no other that could lead it elsewhere. */
export function start(command: readonly string[], { cwd, env }: Place): Running {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TEMPORAL_|CKPT_|NODE_OPTIONS|npm_)/.test(name)));
  const child = spawn(command[0]!, command.slice(1), { cwd, env: { ...clean, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<Ended>((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })));
  return { process: child, ended, said: () => stderr };
}

export function ckpt(args: readonly string[], place: Place): Running {
  return start([process.execPath, CLI, ...args], place);
}
