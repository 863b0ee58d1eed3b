/** The version of this package, from its own description. */
import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  // Compiled, this file lies in dist/src/io.
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
