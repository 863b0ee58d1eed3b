#!/usr/bin/env node
/** The command: sets up a fresh clone first; an installed package is ready. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const setup = new URL('../scripts/setup.mjs', import.meta.url);
if (existsSync(fileURLToPath(setup))) await import(setup.href);
await import('../dist/src/app/cli/main.js');
