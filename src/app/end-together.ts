/** A child that ends with this process, however that is told to end: one that is busy does not see its parent go. */
import type { ChildProcess } from 'node:child_process';
import { atEnd } from '../io/at-end.ts';

/** Sends the child `how` when this process ends. Gives what takes the handlers away. */
export function endTogether(child: ChildProcess, how: 'SIGTERM' | 'SIGKILL'): () => void {
  return atEnd(() => void child.kill(how));
}
