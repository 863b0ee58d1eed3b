/** Writes the pages of docs/ that are made from what they describe: `npm run docs`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT_ROOT } from '../support/project.ts';
import { references } from './reference.ts';

for (const [name, text] of Object.entries(await references())) writeFileSync(join(PROJECT_ROOT, 'docs', name), text);
