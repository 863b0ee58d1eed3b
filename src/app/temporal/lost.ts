/** A server that goes away while a command talks to it, whichever way Temporal's client or worker says so. */
import { CheckpointError, isCheckpointError, textOf } from '../../errors.ts';

/** `details.reason` of an error that says so already: of the embedded server. */
export const SERVER_GONE = 'server_gone';
/** Of gRPC. */
const UNAVAILABLE = 14;
/** Errors are looked at so deep. */
const DEEPEST = 8;

/** What a command has asked the server for, which goes on without it. */
export interface Begun {
  readonly what: 'run' | 'batch';
  readonly workflowId: string;
}

/** That error in words, with what was begun and what to do; every other one as it is. */
export function lostError(error: unknown, begun: Begun | null = null): unknown {
  const said = isCheckpointError(error) && error.details['reason'] === SERVER_GONE;
  if (!said && !isLost(error)) return error;
  const message = said
    ? error.message
    : `The Temporal server is gone, or cannot be reached any more: ${reasonOf(error)}. \`ckpt doctor\` looks at it.`;
  const { what, workflowId } = begun ?? {};
  const command = what === 'batch' ? 'ckpt batch status' : 'ckpt status';
  const next =
    workflowId === undefined
      ? ''
      : ` The ${what} ${workflowId}, if it was there, goes on when the server is back: \`${command} ${workflowId}\` tells.`;
  return new CheckpointError(`${message}${next}`, {
    cause: error,
    retryable: false,
    details: { reason: SERVER_GONE, ...(workflowId === undefined ? {} : { workflow_id: workflowId }) },
  });
}

function isLost(error: unknown): boolean {
  let each = error;
  for (let depth = 0; each instanceof Error && !isCheckpointError(each) && depth < DEEPEST; depth++, each = each.cause) {
    const { name, code, details } = each as { readonly name?: string; readonly code?: unknown; readonly details?: unknown };
    // The worker's native part has no codes.
    if (name === 'TransportError' || (code === UNAVAILABLE && typeof details === 'string')) return true;
  }
  return false;
}

/** What the system said, out of the native part's text of everything; else the last cause's words. */
function reasonOf(error: unknown): string {
  let last = error as Error;
  while (last.cause instanceof Error) last = last.cause;
  const text = textOf(last).replace(/\.+$/, '');
  return /message: "([^"]+)"/.exec(text)?.[1] ?? text.slice(0, 300);
}
