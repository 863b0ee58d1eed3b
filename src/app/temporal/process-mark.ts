/** Telling a living process from a dead one and from another that got its pid later. */
import { readFileSync } from 'node:fs';

/** The same text as long as the process lives; null once it is gone. A zombie, which nobody has reaped yet, is gone. */
export function processMark(pid: number): string | null {
  if (!Number.isSafeInteger(pid) || pid <= 0) return null;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Another user's process may not be signalled, but it lives.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return null;
  }
  if (process.platform !== 'linux') return 'alive';
  try {
    // proc(5): the command in brackets may hold anything; after it come the state (field 3) and the start time (field 22).
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : `started ${fields[19]}`;
  } catch {
    return null;
  }
}
