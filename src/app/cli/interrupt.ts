/** Ctrl-C, SIGTERM, and a terminal that is closed, while a command starts a run and waits for its end: also what comes while the start is on its way cancels it. */
import { lostError } from '../temporal/lost.ts';
import { note } from './output.ts';

/** What asks a command to come to its end; SIGHUP comes of a terminal that is closed, or a lost connection to it. */
export const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interruption {
  /** Settles once what was started has been asked to end; never where nobody interrupts. */
  readonly cancelled: Promise<void>;
  /** Whether somebody has. */
  readonly asked: () => boolean;
  /** It is there, and can be cancelled: where somebody has interrupted already, now. */
  started(cancel: () => Promise<void>): void;
}

/**
 * Begins before the start is asked for, and ends with `act`. The first signal cancels, and lets the run clean up; a second one ends this process
 * at once, but for that of a terminal that is closed, which may come twice. Where the server goes away meanwhile, the error names the run.
 */
export async function interruptible<T>(
  what: 'run' | 'batch',
  workflowId: string,
  act: (interruption: Interruption) => Promise<T>,
): Promise<T> {
  let request: (() => Promise<void>) | null = null;
  let interrupted = false;
  let told = false;
  let settle = (): void => undefined;
  const cancelled = new Promise<void>((resolve) => (settle = resolve));
  const cancel = (): void => {
    // What has ended meanwhile is not cancelled any more.
    void request?.().then(
      () => {
        told = true;
        settle();
      },
      () => undefined,
    );
  };
  const handle = (signal: NodeJS.Signals): void => {
    if (interrupted) {
      if (signal === 'SIGHUP') return;
      const command = what === 'run' ? 'ckpt' : 'ckpt batch';
      note(
        told
          ? `${workflowId} was asked to end: \`${command} status ${workflowId}\` tells how it did.`
          : `${workflowId} may go on: \`${command} cancel ${workflowId}\` ends it.`,
      );
      process.exit(130);
    }
    interrupted = true;
    note(`Cancelling the ${what} ${workflowId} … (again to leave at once)`);
    cancel();
  };
  const started = (how: () => Promise<void>): void => {
    request = how;
    if (interrupted) cancel();
  };
  for (const signal of STOPPING) process.on(signal, handle);
  try {
    return await act({ cancelled, asked: () => interrupted, started });
  } catch (error) {
    throw lostError(error, { what, workflowId });
  } finally {
    for (const signal of STOPPING) process.off(signal, handle);
  }
}
