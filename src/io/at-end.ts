/** What must not outlive this process, however that is told to end. */

import { constants } from 'node:os';

/** Whatever tells a process to end. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

type Listener = (signal: NodeJS.Signals) => void;

const own = new Set<unknown>();

export interface AtEndOptions {
  /** A signal that somebody else listens to is left to them: they bring what runs to its end, and this process with it. */
  readonly yields?: boolean;
}

/** Calls `end`, which must not wait for anything, when this process ends or is told to. Gives what takes the handlers away. */
export function atEnd(end: () => void, { yields = false }: AtEndOptions = {}): () => void {
  const passOn: Listener = (signal) => {
    if (yields && process.listeners(signal).some((each) => !own.has(each))) return;
    end();
    release();
    // As it would have without us; where somebody else listens, that is theirs.
    if (process.listenerCount(signal) > 0) return;
    process.kill(process.pid, signal);
    // The first process of a container is not ended by its own signals, and what it works on is gone.
    setImmediate(() => process.exit(128 + constants.signals[signal]));
  };
  const release = (): void => {
    own.delete(passOn);
    process.off('exit', end);
    for (const signal of ENDING) process.off(signal, passOn);
  };
  own.add(passOn);
  process.on('exit', end);
  // Before others: those that listen once are gone when it is their turn.
  for (const signal of ENDING) process.prependListener(signal, passOn);
  return release;
}
