import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { PROJECT_ROOT } from '../support/project.ts';

const module = (path: string): string => pathToFileURL(join(PROJECT_ROOT, 'dist', 'src', 'io', path)).href;

let folder: string;
let server: Server | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-end-'));
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Runs the lines as a program until `isReady`, sends it `signal`, and gives how it ended. */
async function ended(lines: readonly string[], isReady: () => Promise<boolean>, signal: NodeJS.Signals) {
  const script = join(folder, 'program.mjs');
  await writeFile(script, lines.join('\n'));
  const child = spawn(process.execPath, [script], { stdio: 'inherit' });
  const exit = once(child, 'exit');
  while (!(await isReady()) && child.exitCode === null) await sleep(10);
  child.kill(signal);
  const [code, by] = (await exit) as [number | null, string | null];
  return { code, by };
}

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  'a command that %s ends in the midst of a download leaves nothing in the cache',
  async (signal) => {
    // A body without end.
    server = createServer((_, response) => {
      response.writeHead(200, { etag: '"one"' });
      const more = setInterval(() => response.write(Buffer.alloc(1000)), 5);
      response.on('close', () => clearInterval(more));
    });
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const cache = join(folder, 'cache');
    const lines = [
      `import { createStorage } from ${JSON.stringify(module('storage/storage.js'))};`,
      `await createStorage({ cacheFolder: ${JSON.stringify(cache)} }).open('http://127.0.0.1:${(server.address() as AddressInfo).port}/endless');`,
    ];
    const isReady = async (): Promise<boolean> => (await readdir(cache).catch(() => [])).length > 0;
    expect(await ended(lines, isReady, signal)).toEqual({ code: null, by: signal });
    expect(await readdir(cache)).toEqual([]);
  },
);

test.each([
  [true, '--theirs--exit--'],
  [false, '--end--theirs--'],
])('somebody else listens, once, from before; it yields: %s', async (yields, said) => {
  const heard = join(folder, 'heard');
  const lines = [
    `import { appendFileSync } from 'node:fs';`,
    `import { atEnd } from ${JSON.stringify(module('at-end.js'))};`,
    `const say = (what) => appendFileSync(${JSON.stringify(heard)}, '--' + what);`,
    `process.once('SIGTERM', () => { say('theirs'); process.once('exit', () => say('')); setTimeout(() => process.exit(7), 50); });`,
    `atEnd(() => say(${yields ? "'exit'" : "'end'"}), { yields: ${yields} });`,
    `setInterval(() => undefined, 1000);`,
    `appendFileSync(${JSON.stringify(join(folder, 'ready'))}, '');`,
  ];
  const isReady = async (): Promise<boolean> => (await readdir(folder)).includes('ready');
  expect(await ended(lines, isReady, 'SIGTERM')).toEqual({ code: 7, by: null });
  expect(await readFile(heard, 'utf8')).toBe(said);
});

test('the first process of a container, which its own signals do not end, ends all the same, with what others do at its exit', async () => {
  const heard = join(folder, 'heard');
  const lines = [
    `import { appendFileSync } from 'node:fs';`,
    `import { atEnd } from ${JSON.stringify(module('at-end.js'))};`,
    `const say = (what) => appendFileSync(${JSON.stringify(heard)}, '--' + what);`,
    `process.kill = () => true;`,
    `process.on('exit', () => say('exit'));`,
    `atEnd(() => say('one'));`,
    `atEnd(() => say('two'), { yields: true });`,
    `setTimeout(() => process.exit(1), 3000);`,
    `appendFileSync(${JSON.stringify(join(folder, 'ready'))}, '');`,
  ];
  const isReady = async (): Promise<boolean> => (await readdir(folder)).includes('ready');
  expect(await ended(lines, isReady, 'SIGTERM')).toEqual({ code: 143, by: null });
  expect(await readFile(heard, 'utf8')).toBe('--two--one--exit');
});
