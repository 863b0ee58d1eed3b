/** What a schedule says of itself: in the memo of its action, and in the note that the server shows. */
import type { ScheduleDescription } from '@temporalio/client';
import { SCHEDULE_MEMO, type Timing } from '../pipeline/schedule.ts';

/** Where nobody has said why: the server takes an empty note for no wish at all. */
export const PAUSED = 'paused';
export const UNPAUSED = 'unpaused';

/** What the action of a schedule says in the memo of the runs that it starts. */
export interface Said {
  readonly digest: string;
  readonly timing: Timing;
  /** The note as it was given: a pause replaces what the server shows. Absent where an earlier version wrote the schedule. */
  readonly note?: string | null;
  /** Digest of the schedule as the server described it after our write; another one means that somebody else changed it. */
  readonly described?: string;
}

export function saidOf({ action }: ScheduleDescription): Said {
  const said = action.memo?.[SCHEDULE_MEMO] as Partial<Said> | undefined;
  return {
    digest: said?.digest ?? '',
    timing: said?.timing ?? {},
    ...(said?.note === undefined ? {} : { note: said.note }),
    ...(said?.described === undefined ? {} : { described: said.described }),
  };
}

/** The schedule's own note, whatever a pause or its end has said since; null: it has none. */
export function declaredNote(description: ScheduleDescription): string | null {
  const { note: said } = saidOf(description);
  const { paused, note: shown = '' } = description.state;
  const note = said === undefined ? (paused || isOurs(shown) ? '' : shown) : (said ?? '');
  return note === '' ? null : note;
}

/** Whether it shows what a pause came with, which stays as long as the pause: whoever has paused it has said why. */
export function saysOthers(description: ScheduleDescription): boolean {
  const { paused, note: shown = '' } = description.state;
  return paused && shown !== '' && shown !== PAUSED && shown !== declaredNote(description);
}

export function isOurs(note: string): boolean {
  return note === PAUSED || note === UNPAUSED;
}
