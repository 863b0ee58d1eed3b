/** The program that decides of an output, as a digest: our modules as they are, the libraries by their versions, and Node by its own. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '../src/errors.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Written by the build, as to read three hundred modules takes longer than much of what a run does. */
export const MODULES_FILE = join(ROOT, 'modules.sha256');

let known: string | undefined;

export function programDigest(): string {
  return (known ??= digestOf());
}

function digestOf(): string {
  const { version, dependencies } = JSON.parse(readFileSync(join(ROOT, '..', 'package.json'), 'utf8')) as JsonObject;
  const modules = existsSync(MODULES_FILE) ? readFileSync(MODULES_FILE, 'latin1') : modulesDigest();
  return createHash('sha256')
    .update(process.version)
    .update(modules)
    .update(JSON.stringify([version ?? null, dependencies ?? null]))
    .digest('hex');
}

/** Of everything here that may change what is published. */
export function modulesDigest(): string {
  const hash = createHash('sha256');
  for (const folder of ['activities', 'src']) {
    const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.js'))
      .sort();
    for (const name of names) hash.update(`${folder}/${name}\0`).update(readFileSync(join(ROOT, folder, name)));
  }
  return hash.digest('hex');
}
