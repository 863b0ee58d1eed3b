/** The folder that the embedded server's database, record and leases are in. */
import { CheckpointConfigError, isCheckpointError } from '../../../errors.ts';

/** The system's refusals name the file at best, and none once it is open. */
export function rejectUnwritable(folder: string): (cause: unknown) => never {
  return (cause) => {
    if (isCheckpointError(cause) || !(cause instanceof Error) || !('syscall' in cause)) throw cause;
    throw new CheckpointConfigError(
      `The state folder ${folder} cannot be written: ${cause.message}. Make room there, or set XDG_STATE_HOME to a folder that this user can write.`,
      undefined,
      { cause, details: { folder } },
    );
  };
}
