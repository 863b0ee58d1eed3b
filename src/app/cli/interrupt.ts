/** Ctrl-C and SIGTERM while a command waits for a run. */
import { note } from './output.ts';

/** The first one cancels the run and lets it clean up; a second one ends this process at once. Gives what takes the handler away. */
export function onInterrupt(what: string, cancel: () => void): () => void {
  let interrupted = false;
  const handle = (): void => {
    if (interrupted) process.exit(130);
    interrupted = true;
    note(`Cancelling the ${what} … (again to leave at once)`);
    cancel();
  };
  process.on('SIGINT', handle).on('SIGTERM', handle);
  return () => void process.off('SIGINT', handle).off('SIGTERM', handle);
}
