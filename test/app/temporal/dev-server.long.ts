/** Leases of the embedded server: real processes that share a real server. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readEnvironment, type Environment } from '../../../src/app/environment.ts';
import { acquireDevServer, isKept } from '../../../src/app/temporal/dev-server/acquire.ts';
import { answers } from '../../../src/app/temporal/dev-server/bring-up.ts';
import { runningServer } from '../../../src/app/temporal/dev-server/server-record.ts';
import { processMark } from '../../../src/app/temporal/process-mark.ts';
import { compiled } from '../../support/project.ts';

let folder: string;
let environment: Environment;
let state: string;
const holders: ChildProcess[] = [];

/** What is told to end takes a moment. */
async function gone(pid: number): Promise<void> {
  while (processMark(pid) !== null) await new Promise((resolve) => setTimeout(resolve, 20));
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-lease-'));
  environment = { ...readEnvironment(), stateFolder: join(folder, 'state') };
  state = environment.stateFolder;
});
afterEach(async () => {
  for (const holder of holders.splice(0)) holder.kill('SIGKILL');
  const left = await runningServer(state);
  if (left !== null) process.kill(left.pid, 'SIGKILL');
  const record = await readFile(join(state, 'server.json'), 'utf8').catch(() => '');
  const ending = /"pid":(\d+).*"endingSince"/.exec(record)?.[1];
  if (ending !== undefined) await gone(Number(ending));
  await rm(folder, { recursive: true, force: true });
});

/** Another process that holds a lease, until a line on its stdin or SIGKILL. */
async function holder({ keeps = false, hasWorker = true, roots = '' } = {}): Promise<{
  readonly pid: number;
  readonly server: number;
  release(): Promise<void>;
  kill(): Promise<void>;
}> {
  const program = `
    const { readEnvironment } = await import(${JSON.stringify(compiled('src/app/environment.js'))});
    const { acquireDevServer } = await import(${JSON.stringify(compiled('src/app/temporal/dev-server/acquire.js'))});
    const environment = { ...readEnvironment({ ...process.env, CKPT_ALLOWED_ROOTS: ${JSON.stringify(roots)} }), stateFolder: ${JSON.stringify(state)} };
    const server = await acquireDevServer({ log: () => undefined, environment, keeps: ${keeps}, hasWorker: ${hasWorker} });
    process.stdin.once('data', async () => { await server.release(); process.exit(0); });
    process.stdout.write(String(server.pid) + '\\n');
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  holders.push(child);
  const ended = once(child, 'exit');
  const [line] = (await Promise.race([
    once(child.stdout, 'data'),
    ended.then(([code]) => Promise.reject(new Error(`the holder ended with code ${code}`))),
  ])) as [Buffer];
  return {
    pid: child.pid!,
    server: Number(line.toString()),
    release: async () => {
      child.stdin.write('\n');
      await ended;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

const leases = async (): Promise<readonly string[]> => (await readdir(join(state, 'leases'))).sort();

test('two commands share one server, and the last one ends it', async () => {
  const first = await holder();
  const second = await holder();
  expect(second.server).toBe(first.server);
  expect(await leases()).toEqual([String(first.pid), String(second.pid)].sort());

  await first.release();
  expect(await leases()).toEqual([String(second.pid)]);
  const record = await runningServer(state);
  expect(record?.pid).toBe(first.server);
  expect(await answers(`127.0.0.1:${record!.port}`)).toBe(true);

  await second.release();
  expect(await leases()).toEqual([]);
  expect(await runningServer(state)).toBeNull();
  await gone(record!.pid);
  expect(await answers(`127.0.0.1:${record!.port}`)).toBe(false);
});

test('a server that was told to end is none any more; the next command brings up another when it is gone', async () => {
  const first = await acquireDevServer({ log: () => undefined, environment });
  await first.release();
  expect(await runningServer(state)).toBeNull();
  const second = await acquireDevServer({ log: () => undefined, environment });
  expect(processMark(first.pid)).toBeNull();
  expect(second.pid).not.toBe(first.pid);
  expect(await answers(second.address)).toBe(true);
  expect((await runningServer(state))?.pid).toBe(second.pid);
  await second.release();
});

test('of a record from long ago the pid may be that of any program, which is left alone', async () => {
  await mkdir(state, { recursive: true });
  // What the system says of it is what it says of a server of ours.
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'start-dev'], { stdio: 'ignore' });
  holders.push(other);
  const record = { pid: other.pid, port: 1, uiPort: 2, endingSince: Date.now() - 3_600_000 };
  await writeFile(join(state, 'server.json'), JSON.stringify(record));
  const server = await acquireDevServer({ log: () => undefined, environment });
  expect(processMark(other.pid!)).not.toBeNull();
  await server.release();
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const)(
  'a command that gets %s while its server comes up leaves none beside that of the next',
  async (signal) => {
    const child = spawn(process.execPath, [compiled('src/app/cli/main.js'), 'status', 'none'], {
      stdio: 'ignore',
      env: { ...process.env, XDG_STATE_HOME: join(folder, 'xdg'), TEMPORAL_ADDRESS: '' },
    });
    holders.push(child);
    const ended = once(child, 'exit');
    state = join(folder, 'xdg', 'checkpoint-pipeline');
    const starting = async (): Promise<number | undefined> => {
      const text = await readFile(join(state, 'server.json'), 'utf8').catch(() => '{}');
      const { pid, starting } = JSON.parse(text) as { pid?: number; starting?: string };
      return starting === undefined ? undefined : pid;
    };
    let pid: number | undefined;
    while ((pid = await starting()) === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill(signal);
    expect(await ended).toEqual([null, signal]);
    if (signal !== 'SIGKILL') await gone(pid);
    const next = await acquireDevServer({ log: () => undefined, environment: { ...environment, stateFolder: state } });
    expect(processMark(pid)).toBeNull();
    expect((await readdir(state)).filter((name) => name.startsWith('lock'))).toEqual([]);
    await next.release();
  },
);

test('two commands that start at once bring up one server', async () => {
  const [first, second] = await Promise.all([holder(), holder()]);
  expect(second.server).toBe(first.server);
  await Promise.all([first.release(), second.release()]);
  expect(await runningServer(state)).toBeNull();
});

test('a process whose worker may reach other things is told apart, as long as it is up', async () => {
  const acquire = (roots: string) =>
    acquireDevServer({
      log: () => undefined,
      environment: { ...readEnvironment({ ...process.env, CKPT_ALLOWED_ROOTS: roots }), stateFolder: state },
    });
  const fenced = await holder({ roots: '/data' });
  const passing = await holder({ roots: '/other', hasWorker: false });
  const mine = await acquire('');
  expect(mine.differsIn).toEqual(['CKPT_ALLOWED_ROOTS']);
  const alike = await holder({ roots: '/data' });
  await fenced.release();
  await alike.kill();
  await mine.release();
  const again = await acquire('');
  // What runs no worker takes nobody's work.
  expect(again.differsIn).toEqual([]);
  await again.release();
  await passing.release();
});

test('a server stays where another command keeps it and a worker up, and only as long', async () => {
  const passing = await holder();
  expect(await isKept(state)).toBe(false);
  const kept = await holder({ keeps: true });
  expect(await isKept(state)).toBe(true);
  const mine = await acquireDevServer({ log: () => undefined, environment });
  expect(mine.stays).toBe(true);
  await kept.kill();
  expect(await isKept(state)).toBe(false);
  await mine.release();
  await passing.release();
});

test('the lease of a killed command counts for nothing: the next one finds its server, and ends it', async () => {
  const killed = await holder();
  await killed.kill();
  expect(await leases()).toEqual([String(killed.pid)]);

  const next = await holder();
  expect(next.server).toBe(killed.server);
  const { port } = (await runningServer(state))!;
  await next.release();
  expect(await leases()).toEqual([]);
  expect(await runningServer(state)).toBeNull();
  await gone(next.server);
  expect(await answers(`127.0.0.1:${port}`)).toBe(false);
});

test('a lease whose pid is another program by now counts for nothing', async () => {
  const { release } = await holder();
  // This process lives, but began at another time than the lease says.
  await writeFile(join(state, 'leases', String(process.pid)), 'started 1');
  await release();
  expect(await leases()).toEqual([]);
  expect(await runningServer(state)).toBeNull();
});

test('a lock left by a killed command is taken over at once', async () => {
  const { pid, kill } = await holder();
  await kill();
  await writeFile(join(state, 'lock'), `${pid} started 1`);
  const [first, second] = await Promise.all([holder(), holder()]);
  await Promise.all([first.release(), second.release()]);
  expect(await runningServer(state)).toBeNull();
  expect((await readdir(state)).filter((name) => name.startsWith('lock'))).toEqual([]);
});

test('a record whose server is gone, or whose pid is another program by now, is not a server', async () => {
  await mkdir(state, { recursive: true });
  await writeFile(join(state, 'server.json'), JSON.stringify({ pid: process.pid, port: 7233, uiPort: 8233 }));
  expect(await runningServer(state)).toBeNull();

  const server = await acquireDevServer({ log: () => undefined, environment });
  expect(server.pid).not.toBe(process.pid);
  expect(await answers(server.address)).toBe(true);
  process.kill(server.pid, 'SIGKILL');
  while ((await runningServer(state)) !== null) await new Promise((resolve) => setTimeout(resolve, 20));

  const again = await acquireDevServer({ log: () => undefined, environment });
  expect(again.pid).not.toBe(server.pid);
  expect(await answers(again.address)).toBe(true);
  await again.release();
  expect(await readFile(join(state, 'server.log'), 'utf8')).toEqual(expect.any(String));
});

test.each(['', '{', 'null', '{"pid":"x"}'])('a damaged record (%j) is not a server', async (text) => {
  await mkdir(state, { recursive: true });
  await writeFile(join(state, 'server.json'), text);
  expect(await runningServer(state)).toBeNull();
});

test('a server that is killed is missed by who holds it, and the next one brings it up again', async () => {
  const own = await acquireDevServer({ log: () => undefined, environment });
  const over = new AbortController();
  const missed = own.gone(over.signal);
  process.kill(own.pid, 'SIGKILL');
  await expect(missed).rejects.toMatchObject({ code: 'CheckpointError', details: { reason: 'server_gone', pid: own.pid } });
  const other = await holder();
  expect(other.server).not.toBe(own.pid);
  await other.release();
  // The last one ends it, though it was not the one that it held.
  await own.release();
  await gone(other.server);
});
