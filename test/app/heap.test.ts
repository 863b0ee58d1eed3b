/** How far the heap of a process grows whose objects become old and are then done with, as those of runs do. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { PROJECT_ROOT } from '../support/project.ts';

const HEAP = join(PROJECT_ROOT, 'dist', 'src', 'app', 'heap.js');

/** Prints the most MiB of old objects, and what contexts that are made later know of collecting them; what lives are some twenty. */
const PROGRAM = `
  const [v8, { runInNewContext }, { boundHeapGrowth }] = await Promise.all([import('node:v8'), import('node:vm'), import(process.argv[1])]);
  boundHeapGrowth();
  const living = Array.from({ length: 150_000 }, () => null);
  let most = 0;
  for (let at = 0; at < 6_000_000; at++) {
    living[at % living.length] = { at, list: [at, at + 1, at + 2] };
    if (at % 10_000 !== 0) continue;
    const old = v8.getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space');
    most = Math.max(most, old.space_used_size / 2 ** 20);
    // Garbage comes no quicker than a worker makes it.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  console.log(most, runInNewContext('typeof gc'));
`;

test('old garbage is looked for before there is several times as much as lives', async () => {
  // As the command is started: below the limit that its heap begins with, V8 by itself looks for nothing.
  const flags = ['--initial-heap-size=200', '--input-type=module'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...flags, '-e', PROGRAM, HEAP]);
  // An unknown flag would be told there.
  expect(stderr).toBe('');
  const [most, collects] = stdout.trim().split(' ');
  expect(collects).toBe('undefined');
  // Bounded 103 to 111; by itself mostly 182.
  expect(Number(most)).toBeGreaterThan(10);
  expect(Number(most)).toBeLessThan(140);
});
