/** Where the user stands, and what locations mean from there. */
import { isAbsolute, resolve } from 'node:path';
import { withHome } from '../../io/local/local-file.ts';
import { schemeOf } from '../../model/scheme.ts';

export { callerFolder } from '../environment.ts';

/** A location as every worker finds it: a URI as it is, `~` the user's home, a relative path from the folder. */
export function absoluteLocation(location: string, folder: string): string {
  if (schemeOf(location) !== null || isAbsolute(location)) return location;
  // What ends in a slash means a folder, of which sinks have none.
  return `${resolve(folder, withHome(location))}${/.\/$/.test(location) ? '/' : ''}`;
}
