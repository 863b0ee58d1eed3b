/** How far the heap of a process grows whose objects become old and are then done with, as those of runs do. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { PROJECT_ROOT } from '../support/project.ts';

const HEAP = join(PROJECT_ROOT, 'dist', 'src', 'app', 'heap.js');

/** Prints the most MiB of old objects after a first look at all of them; what lives are some fifteen. */
const PROGRAM = `
  const [v8, { boundHeapGrowth }] = await Promise.all([import('node:v8'), import(process.argv[1])]);
  boundHeapGrowth();
  const living = Array.from({ length: 100_000 }, () => null);
  let most = 0;
  for (let at = 0; at < 2_000_000; at++) {
    living[at % living.length] = { at, list: [at, at + 1, at + 2] };
    // Before it, V8 has nothing that the heap could grow from.
    if (at === 300_000) gc();
    if (at <= 300_000 || at % 10_000 !== 0) continue;
    const old = v8.getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space');
    most = Math.max(most, old.space_used_size / 2 ** 20);
    await new Promise(setImmediate);
  }
  console.log(most);
`;

test('old garbage is looked for before there is several times as much as lives', async () => {
  const most: number[] = [];
  // The least of several: on a busy machine, the threads that look may come late.
  for (let run = 0; run < 3; run++) {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--expose-gc', '--input-type=module', '-e', PROGRAM, HEAP]);
    // An unknown flag would be told there.
    expect(stderr).toBe('');
    most.push(Number(stdout));
  }
  expect(Math.min(...most)).toBeGreaterThan(5);
  // Bounded 25 to 35; Node 20 by itself 60 to 75.
  expect(Math.min(...most)).toBeLessThan(45);
});
