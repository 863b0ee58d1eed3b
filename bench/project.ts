/** Where the project lies, whichever folder the compiled bench runs from. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

export const PROJECT_ROOT = findRoot();
export const CKPT = join(PROJECT_ROOT, 'dist', 'src', 'app', 'cli', 'main.js');
