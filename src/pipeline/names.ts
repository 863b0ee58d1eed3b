/** Names that become parts of ids on the server, and ids that users give. Workflow-safe. */
import { CheckpointConfigError } from '../errors.ts';

/** Bytes of an id that Temporal takes. */
const MOST_ID_BYTES = 1000;
/**
 * Bytes of a name, and of a schedule's id: what begins with them has room for a random part, for another try, for the time of a schedule,
 * and, where it is a batch, for the keys of its items.
 */
const MOST_NAME_BYTES = 500;
/** Ends of lines and other control characters; lone surrogates, which are not text. In JSON Schema, too: a name is all but these. */
const NOT_IN_NAMES = String.raw`\u0000-\u001f\u007f-\u009f\u2028\u2029`;
const NO_NAME = new RegExp(`[${NOT_IN_NAMES}\\p{Surrogate}]`, 'u');

/** What JSON Schema can say of a name; characters of it are no more than its bytes. */
export const NAME_SCHEMA = { type: 'string', maxLength: MOST_NAME_BYTES, pattern: `^[^${NOT_IN_NAMES}]*$` } as const;

/** Throws `CheckpointConfigError` with `path` for a text that ids cannot begin with. */
export function checkName(name: string, path: string): void {
  refuseUnfit(name, MOST_NAME_BYTES, `\`${path}\``, 'Ids on the server begin with it: choose a shorter one.', path);
}

/** The same of the id of a schedule, which a program may have given anything for. */
export function checkScheduleId(id: unknown): asserts id is string {
  checkText(id, 'The id of a schedule', 'Give it as the first argument: `schedules.apply(id, input)`.');
  checkName(id, 'id');
}

/** The same of the id of a run. */
export function checkRunId(id: unknown): asserts id is string {
  checkText(id, 'The id of a run', 'Leave `workflowId` out to have one made.');
  refuseUnfit(id, MOST_ID_BYTES, 'The id of a run', 'Choose a shorter `--id`, in a program `workflowId`.', undefined);
}

function checkText(id: unknown, what: string, advice: string): asserts id is string {
  if (typeof id === 'string' && id !== '') return;
  const got = id === '' ? 'an empty one' : id === null ? 'null' : Array.isArray(id) ? 'a list' : typeof id;
  throw new CheckpointConfigError(`${what} is a text with at least one character, not ${got}. ${advice}`, 'id');
}

function refuseUnfit(text: string, most: number, what: string, advice: string, path: string | undefined): void {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > most) throw new CheckpointConfigError(`${what} has ${bytes} bytes; the limit is ${most}. ${advice}`, path);
  const at = text.search(NO_NAME);
  if (at < 0) return;
  const code = text.charCodeAt(at).toString(16).padStart(4, '0');
  throw new CheckpointConfigError(
    `${what} has the character U+${code.toUpperCase()} at ${at}; control characters, ends of lines and halves of surrogate pairs are not taken.`,
    path,
  );
}
