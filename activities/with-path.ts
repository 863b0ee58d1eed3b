/** Configuration errors of what knows its options only get the place of the stage in the document. */
import { CheckpointConfigError, isCheckpointError } from '../src/errors.ts';
import type { StageCall } from './stage.ts';

export async function withPath<T>(call: Pick<StageCall<unknown>, 'stage'>, act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!isCheckpointError(error) || error.code !== 'CheckpointConfigError') throw error;
    const { config_path: option, ...details } = error.details;
    const path = [`stages[${call.stage.index}]`, ...(typeof option === 'string' ? [option] : [])].join('.');
    throw new CheckpointConfigError(error.message, path, { details });
  }
}
