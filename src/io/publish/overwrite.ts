/** What becomes of an output that is there already, by the option of that name. */
import { CheckpointConfigError } from '../../errors.ts';

export type Overwrite = 'never' | 'if_changed' | 'always';

/** Of a place that `overwrite: never` finds taken. */
export function existsError(uri: string): CheckpointConfigError {
  return new CheckpointConfigError(`${uri} exists, and \`overwrite\` is never. Choose another \`uri\`, or remove it first.`, undefined, {
    details: { reason: 'exists' },
  });
}
