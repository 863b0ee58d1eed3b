/** What the system says of a disk that has no room, or none for this user. */
import { isCheckpointError } from '../../errors.ts';

const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

/** True of the system's refusal, and of an error of ours that was caused by it. */
export function isDiskFull(error: unknown): boolean {
  const said = isCheckpointError(error) ? error.cause : error;
  return said instanceof Error && 'code' in said && FULL.has(said.code);
}
