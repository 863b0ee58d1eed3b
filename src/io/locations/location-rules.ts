/** What no location of a stage may be, whoever starts the run; a preflight looks before anything is moved. */
import { isAbsolute } from 'node:path';
import { CheckpointConfigError } from '../../errors.ts';
import { schemeOf } from '../../model/scheme.ts';

/**
 * Characters of a location as a URI, in which a character beyond ASCII has up to twelve: what has been published is named some six times in what
 * one stage hands to the next.
 */
const LONGEST = 1800;

/** Throws `CheckpointConfigError` with `path` for a location that is too long to be told from stage to stage. */
export function refuseLongLocation(location: unknown, path: string): void {
  if (typeof location !== 'string') return;
  const length = schemeOf(location) === null ? encodeURI(Buffer.from(location).toString()).length : location.length;
  if (length <= LONGEST) return;
  throw new CheckpointConfigError(
    `\`${path}\` has ${length} characters as a URI; the limit is ${LONGEST}: ${JSON.stringify(location.slice(0, 100))}… Use a shorter path, a link to the folder, or a mount of it.`,
    path,
    { details: { characters: length, most: LONGEST } },
  );
}

/**
 * Throws `CheckpointConfigError` with `path` for a relative location, which would mean another place on each worker: it counts from the folder in
 * which that was started. What is not text is none.
 */
export function refuseRelativeLocation(location: unknown, path: string): void {
  if (typeof location !== 'string' || location === '' || isElsewhere(location)) return;
  throw new CheckpointConfigError(
    `\`${path}\` is the relative location ${JSON.stringify(location)}: it would count from the folder of whichever worker takes it. Give an absolute path or a URI.`,
    path,
  );
}

/** Absolute, in the home of the worker, a URI, or where the item of a batch is. */
function isElsewhere(location: string): boolean {
  return isAbsolute(location) || schemeOf(location) !== null || /^(~(\/|$)|\$\{item\.)/i.test(location);
}
