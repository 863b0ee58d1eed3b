/** A child that ends with this process, however that is told to end: one that is busy does not see its parent go. */
import type { ChildProcess } from 'node:child_process';

/** Whatever tells this process to end. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Sends the child `how` when this process ends. Gives what takes the handlers away. */
export function endTogether(child: ChildProcess, how: 'SIGTERM' | 'SIGKILL'): () => void {
  const end = (): void => void child.kill(how);
  const passOn = (signal: NodeJS.Signals): void => {
    end();
    release();
    // As it would have without us; where somebody else listens, that is theirs.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const release = (): void => {
    process.off('exit', end);
    for (const signal of ENDING) process.off(signal, passOn);
  };
  process.on('exit', end);
  for (const signal of ENDING) process.on(signal, passOn);
  return release;
}
