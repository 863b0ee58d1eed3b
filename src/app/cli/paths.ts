/** Where the user stands. */
import { readEnvironment } from '../environment.ts';

export function callerFolder(): string {
  return readEnvironment().callerFolder;
}
