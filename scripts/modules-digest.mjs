/** Writes the digest of the built modules beside them, so that no run has to read them all. */
import { writeFileSync } from 'node:fs';
import { MODULES_FILE, modulesDigest } from '../dist/activities/program.js';

writeFileSync(MODULES_FILE, modulesDigest());
