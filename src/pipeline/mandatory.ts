/** `???`: OmegaConf's mark of a value that whoever runs the document has yet to write. */
import { CheckpointConfigError } from '../errors.ts';

/** Throws `CheckpointConfigError` where the value under `key` is that mark; `configPath` is the place that needs it. */
export function refuseMandatory(value: unknown, key: string, configPath: string): void {
  if (value === '???') throw new CheckpointConfigError(`\`${key}\` still has the placeholder \`???\`: give it a value.`, configPath);
}
