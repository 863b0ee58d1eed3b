#!/usr/bin/env -S node --initial-heap-size=200 --max-semi-space-size=16
/**
 * The command: sets up a fresh clone first; an installed package is ready.
 *
 * What can only be given to Node itself, both in MB: the heap's first limit, as left to V8 it comes down to a tenth of it while modules are
 * loaded, and what a run makes of a header of many tensors is then gone through for garbage three times, though nearly all of it lives; and
 * a bound for each half of the space of new objects, which in Node 24 takes 100 MiB in a process that is busy.
 */
import { existsSync } from 'node:fs';
import * as module from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';

// What a command makes mostly stays until it ends: room for new objects that grows by doubling is gone through a dozen times meanwhile.
setFlagsFromString('--semi-space-growth-factor=16');
// Of this heap alone: those of threads to come hold little, and have limits of their own.
setFlagsFromString('--initial-heap-size=0');
setFlagsFromString('--max-semi-space-size=0');

const setup = new URL('../scripts/setup.mjs', import.meta.url);
if (existsSync(fileURLToPath(setup))) await import(setup.href);
// Compiling what is imported is a third of a short command's time; from Node 22.1 on it is done once.
const { readEnvironment } = await import('../dist/src/app/environment.js');
module.enableCompileCache?.(join(readEnvironment().cacheFolder, 'compiled'));
await import('../dist/src/app/cli/main.js');
