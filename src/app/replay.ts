/**
 * Replays the histories of a bundle against the installed workflow code.
 *
 * A bundle may come from anybody, and there are histories that the SDK waits on for ever, in a thread of its native part that cannot be
 * ended; so it replays in a process of its own, which can.
 */
import { fork } from 'node:child_process';
import { basename } from 'node:path';
import { CheckpointLoadError, CheckpointTimeoutError, errorOf, type ErrorReport } from '../errors.ts';
import { endTogether } from './end-together.ts';

/** What came of a history; `difference` is null where the code takes the same steps. */
export interface Replayed {
  readonly history: string;
  readonly events: number;
  readonly difference: string | null;
}

/** What the process of the replay says. */
export type ReplayMessage =
  | { readonly kind: 'began'; readonly history: string }
  | ({ readonly kind: 'replayed' } & Replayed)
  | { readonly kind: 'failed'; readonly error: ErrorReport }
  | { readonly kind: 'done' };

/** Seconds for the process to start and to take the first history out of the bundle, which is not the history's fault. */
const FIRST_WORD = 60;

/** Replays every history of a bundle. Throws `CheckpointLoadError` for one that is not a history, `CheckpointTimeoutError` if one takes longer than `timeout` seconds. */
export async function replayBundle(path: string, timeout: number, firstWord = FIRST_WORD): Promise<readonly Replayed[]> {
  const child = fork(new URL('./replay-process.js', import.meta.url), [path], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const release = endTogether(child, 'SIGKILL');
  const replayed: Replayed[] = [];
  let current = basename(path);
  let deadline: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const within = (seconds: number, late: () => CheckpointTimeoutError): void => {
        clearTimeout(deadline);
        deadline = setTimeout(() => reject(late()), seconds * 1000);
      };
      within(firstWord, () => notBegun(path, firstWord));
      child.on('message', (message: ReplayMessage) => {
        within(timeout, () => tooLong(path, current, timeout));
        if (message.kind === 'began') current = message.history;
        else if (message.kind === 'failed') reject(errorOf(message.error));
        else if (message.kind === 'done') resolve();
        else replayed.push({ history: message.history, events: message.events, difference: message.difference });
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        const how = signal === null ? `with ${code}` : `by ${signal}`;
        reject(new CheckpointLoadError(`${current} in ${path} cannot be replayed: the process that tried has ended ${how}.`, path));
      });
    });
  } finally {
    clearTimeout(deadline);
    child.kill('SIGKILL');
    release();
  }
  return replayed;
}

function notBegun(path: string, seconds: number): CheckpointTimeoutError {
  return new CheckpointTimeoutError(
    `The replay of ${path} has not begun within ${seconds} s. Try again when this machine has less to do.`,
    'replay',
    seconds,
  );
}

function tooLong(path: string, history: string, timeout: number): CheckpointTimeoutError {
  return new CheckpointTimeoutError(`The replay of ${history} in ${path} has not ended within ${timeout} s.`, 'replay', timeout, {
    retryable: false,
    details: {
      suggestion:
        'A history with missing or altered events is waited on for ever: make the bundle again with `ckpt bundle`. On a slow machine, `--timeout` gives it longer.',
    },
  });
}
