/** Ctrl-C and SIGTERM while a command starts a run and waits for its end: also one that comes while the start is on its way cancels it. */
import { lostError } from '../temporal/lost.ts';
import { note } from './output.ts';

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
 * at once. Where the server goes away meanwhile, the error names the run.
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
  const handle = (): void => {
    if (interrupted) {
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
  process.on('SIGINT', handle).on('SIGTERM', handle);
  try {
    return await act({ cancelled, asked: () => interrupted, started });
  } catch (error) {
    throw lostError(error, { what, workflowId });
  } finally {
    process.off('SIGINT', handle).off('SIGTERM', handle);
  }
}
