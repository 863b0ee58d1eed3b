/** The server as a process of the system. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { processMark } from '../process-mark.ts';

/** Milliseconds. */
const STOP_TIMEOUT = 5000;

/** Pids are used again: where the system says what a process runs, it must be `temporal`, and no zombie. */
export async function isServer(pid: number): Promise<boolean> {
  if (processMark(pid) === null) return false;
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null);
  return command === null ? process.platform !== 'linux' : command.includes('start-dev');
}

/** Tells it to end, and waits for that. */
export async function stop(pid: number): Promise<void> {
  if (!(await isServer(pid))) return;
  tell(pid, 'SIGTERM');
  const deadline = Date.now() + STOP_TIMEOUT;
  while (Date.now() < deadline) {
    if (!(await isServer(pid))) return;
    await sleep(50);
  }
  // Safe: the database has a write-ahead log.
  if (await isServer(pid)) tell(pid, 'SIGKILL');
}

/** Since it was looked at, the server may have ended by itself. */
export function tell(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
