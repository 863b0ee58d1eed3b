/**
 * What every attempt of a stage leaves behind, in the heartbeat: Temporal hands it to the next attempt, on whichever worker.
 *
 * Invariant: nothing of it lives in a worker's memory alone. An attempt is in the list as `lost` from its first pulse until it
 * says itself how it ended; one that was gone before its first pulse is filled in by its successor.
 */
import type { Info } from '@temporalio/activity';
import type { Json, JsonObject } from '../src/errors.ts';
import { isMapping } from '../src/model/json.ts';
import { escapeControls } from '../src/model/text.ts';
import type { AttemptRecord } from '../src/pipeline/contract.ts';
import { firstAndLast } from '../src/pipeline/history.ts';

/** Of an error's message, where it is one of many. */
const MOST_CHARACTERS = 300;
const KEY = 'attempts';

/** Records of the attempts before this one. */
export function attemptsBefore(heartbeatDetails: unknown, attempt: number): readonly AttemptRecord[] {
  const said =
    isMapping(heartbeatDetails) && Array.isArray(heartbeatDetails[KEY]) ? (heartbeatDetails[KEY] as readonly AttemptRecord[]) : [];
  const first = Math.max(said.at(-1)?.attempt ?? 0, attempt - 10) + 1;
  const lost = Array.from({ length: Math.max(0, attempt - first) }, (_, i) => lostAttempt(first + i, null));
  return firstAndLast([...said.filter((one) => one.attempt < attempt), ...lost]);
}

/** True where Temporal makes no further attempt of a call, as its retries go; false where nobody has said how many there are. */
export function isLastAttempt(attempt: number, retryPolicy: Info['retryPolicy']): boolean {
  const most = retryPolicy?.maximumAttempts ?? 0;
  return most > 0 && attempt >= most;
}

export function lostAttempt(attempt: number, started: string | null): AttemptRecord {
  return { attempt, started, ended: null, outcome: 'lost', error: null };
}

export function endedAttempt(
  attempt: number,
  started: string,
  error: { readonly type: string; readonly message: string } | null,
): AttemptRecord {
  return {
    attempt,
    started,
    ended: new Date().toISOString(),
    outcome: error === null ? 'completed' : 'failed',
    error: error === null ? null : { type: error.type, message: escapeControls(error.message.slice(0, MOST_CHARACTERS)) },
  };
}

/** Heartbeat details: the stage's own progress, and the records. */
export function withAttempts(progress: JsonObject | undefined, attempts: readonly AttemptRecord[]): JsonObject {
  return { ...progress, [KEY]: attempts as unknown as Json };
}

/** The stage's own progress in the heartbeat of the attempt before, if it had any. */
export function progressIn(heartbeatDetails: unknown): JsonObject | undefined {
  if (!isMapping(heartbeatDetails)) return undefined;
  const { [KEY]: _, ...progress } = heartbeatDetails;
  return Object.keys(progress).length === 0 ? undefined : (progress as JsonObject);
}
