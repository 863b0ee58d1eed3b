/** Rules of options that our own readers have already, as checks of their schemas. */
import type { z } from 'zod';
import { isCheckpointError, textOf, type JsonObject } from '../src/errors.ts';
import { refuseLongLocation, refuseRelativeLocation } from '../src/io/locations/location-rules.ts';
import { isMapping } from '../src/model/json.ts';
import type { StageDefinition } from './stage.ts';

/** Throws `CheckpointConfigError` at `stages[i].option` for a location that no stage may have. */
export function checkLocations({ locations = [] }: Pick<StageDefinition, 'locations'>, options: JsonObject, index: number): void {
  for (const option of locations) {
    refuseRelativeLocation(options[option], `stages[${index}].${option}`);
    refuseLongLocation(options[option], `stages[${index}].${option}`);
  }
}

/**
 * Refuses what `read` throws for, in its words and with its reason, at the place within the value that its error names. What an item of a batch
 * fills in is looked at when it has.
 */
export function refusedBy<T>(read: (value: T) => unknown): (value: T, context: z.RefinementCtx) => void {
  return (value, context) => {
    if ((typeof value === 'string' ? value : JSON.stringify(value)).includes('${item.')) return;
    try {
      read(value);
    } catch (error) {
      const { config_path: place, reason } = isCheckpointError(error) ? error.details : {};
      const path = typeof place === 'string' && place !== '' ? [place.replace(/^\./, '')] : [];
      context.addIssue({
        code: 'custom',
        message: textOf(error).replace(/\.$/, ''),
        path,
        ...(reason === undefined ? {} : { params: { reason } }),
      });
    }
  };
}

/** For the error of a list whose items are as `item` says: a mapping in its place is most often meant as one of them. */
export function notAList(item: string): (issue: z.core.$ZodRawIssue) => string | undefined {
  return ({ code, input }) =>
    code === 'invalid_type' && isMapping(input) ? `expected a list, got a mapping: write \`- ${item}\` for each item` : undefined;
}
