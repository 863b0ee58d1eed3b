/** Where this package's own pages lie: an error names the one that says what to do about it. */
import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const PAGE = 'docs/operations.md';
// Compiled, this file lies in dist/src/app/cli.
const PLACE = fileURLToPath(new URL(`../../../../${PAGE}`, import.meta.url));

/** The page about errors as seen from a folder, or its whole path where that is shorter; its name where it was not installed, as in the image. */
export function errorsPage(folder: string, place = PLACE): string {
  if (!existsSync(place)) return PAGE;
  const near = relative(folder, place);
  return near.length <= place.length ? near : place;
}
