/** Other programs, timed from start to exit, with the peak of their resident memory and their CPU time as the kernel counts them. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Milliseconds between looks at a running process. */
const INTERVAL = 10;
/** The kernel's clock for CPU times, in ticks per second: fixed on Linux. */
const TICKS = 100;

export interface Finished {
  /** From before the start until it has ended. */
  readonly ms: number;
  /** Bytes; null where there is no /proc. */
  readonly peakRss: number | null;
  /** User and system time in milliseconds, in the kernel's ticks of 10; null where there is no /proc. */
  readonly cpuMs: number | null;
  readonly stdout: string;
}

/** Runs a program to its end; one that fails throws with what it said. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<Finished> {
  const cpuBefore = endedChildrenCpu();
  const began = performance.now();
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const watch = watchMemory(child.pid);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const ended = new Promise<{ readonly code: number | null; readonly ms: number }>((resolve, reject) => {
    let ms = 0;
    child.on('error', reject);
    child.on('exit', () => (ms = performance.now() - began));
    child.on('close', (code) => resolve({ code, ms }));
  });
  const { code, ms } = await ended.finally(() => watch.stop());
  const text = Buffer.concat(stdout).toString();
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${Buffer.concat(stderr).toString()}\n${text}`);
  const cpuAfter = endedChildrenCpu();
  const cpuMs = cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore;
  return { ms, peakRss: watch.peakRss(), cpuMs, stdout: text };
}

/** What the kernel has added up for children that have ended: exact for one program, as programs are run one at a time. */
function endedChildrenCpu(): number | null {
  try {
    // Fields 16 and 17 of proc(5), counted after the name in brackets, which is field 2.
    const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]?.split(' ') ?? [];
    return ((Number(fields[13]) + Number(fields[14])) * 1000) / TICKS;
  } catch {
    return null;
  }
}

export interface MemoryWatch {
  peakRss(): number | null;
  stop(): void;
}

/** Looks at a process until stopped. The kernel keeps the peak, so nothing between two looks is lost, only what follows the last. */
export function watchMemory(pid: number | undefined): MemoryWatch {
  let peakRss: number | null = null;
  const look = (): void => {
    try {
      const high = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
      if (high !== undefined) peakRss = Number(high) * 1024;
    } catch {
      // It has ended, or there is no /proc here.
    }
  };
  const timer = setInterval(look, INTERVAL);
  return {
    peakRss: () => (look(), peakRss),
    stop: () => clearInterval(timer),
  };
}

export interface StartedProgram {
  readonly pid: number;
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>;
}

/** Starts a Node program and waits until its stderr has a line that says it is up. */
export async function startProgram(
  args: readonly string[],
  ready: RegExp,
  options: { readonly env: NodeJS.ProcessEnv },
): Promise<StartedProgram> {
  const child = spawn(process.execPath, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  let text = '';
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${args.join(' ')} ended with ${code} before it was up:\n${text}`)));
    child.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (ready.test(text)) resolve();
    });
  });
  return {
    pid: child.pid!,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
