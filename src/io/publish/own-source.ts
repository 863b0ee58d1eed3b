/** An output in the place of a file that is read. */
import { CheckpointConfigError } from '../../errors.ts';

export function ownSource(place: string, configPath?: string): CheckpointConfigError {
  return new CheckpointConfigError(
    `${place} is the source itself: publishing over it would destroy it. Choose another \`uri\`.`,
    configPath,
    {
      details: { reason: 'own_source' },
    },
  );
}
