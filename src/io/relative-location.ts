/** A location that would mean another place on each worker: a relative one counts from the folder in which a worker was started. */
import { isAbsolute } from 'node:path';
import { CheckpointConfigError } from '../errors.ts';
import { schemeOf } from '../model/scheme.ts';

/** Throws `CheckpointConfigError` with `path` for a relative location; what is no text is none. */
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
