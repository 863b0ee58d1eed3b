/** Where the project lies, whichever folder the compiled bench runs from. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

export const PROJECT_ROOT = findRoot();
const BIN = join(PROJECT_ROOT, 'bin', 'ckpt.js');
/** Node's arguments for the command, as the system starts it: with the flags of its first line. */
export const CKPT: readonly string[] = [...(/^#!.* node ?(.*)$/m.exec(readFileSync(BIN, 'utf8'))?.[1]?.split(' ') ?? []), BIN];
