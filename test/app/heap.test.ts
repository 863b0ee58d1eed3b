/** How far the heap of a process grows whose objects become old and are then done with, as those of runs do. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
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

/** What `bin/ckpt.js` gives to Node. */
const FLAGS = /^#!.* node (.*)\n/.exec(readFileSync(join(PROJECT_ROOT, 'bin', 'ckpt.js'), 'utf8'))![1]!.split(' ');

/** Prints the MiB that new objects have taken, of which very many live. */
const BUSY = `
  const { getHeapSpaceStatistics, setFlagsFromString } = await import('node:v8');
  setFlagsFromString('--semi-space-growth-factor=16');
  const living = [];
  for (let at = 0; at < 3_000_000; at++) living.push({ at });
  console.log(getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space').space_size / 2 ** 20, living.length);
`;

async function run(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...FLAGS, '--input-type=module', '-e', program, ...args]);
  // An unknown flag would be told there.
  expect(stderr).toBe('');
  return stdout.trim();
}

test('`npm start` gives Node the same flags as the command does', () => {
  const { scripts } = JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8')) as { scripts: { start: string } };
  expect(scripts.start).toBe(`node ${FLAGS.join(' ')} bin/ckpt.js`);
});

test('new objects take no more room with a newer Node', async () => {
  const [taken, living] = (await run(BUSY)).split(' ');
  expect(living).toBe('3000000');
  // Two halves of 16; Node 24 by itself 128.
  expect(Number(taken)).toBe(32);
});

test('old garbage is looked for before there is several times as much as lives', async () => {
  // Below the limit that the command's heap begins with, V8 by itself looks for nothing.
  const [most, collects] = (await run(PROGRAM, HEAP)).split(' ');
  expect(collects).toBe('undefined');
  // Bounded 103 to 111; by itself mostly 182.
  expect(Number(most)).toBeGreaterThan(10);
  expect(Number(most)).toBeLessThan(140);
});
