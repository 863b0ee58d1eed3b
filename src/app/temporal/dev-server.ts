/**
 * The embedded Temporal server: the official dev server on a database file in the user's state folder, shared by all `ckpt`
 * processes of the user.
 *
 * Each process holds a lease (a file named by its pid); the last one to leave tells the server to end, and a lease of a process that
 * is gone counts for nothing, also where its pid is taken again. So a killed CLI leaves a server that the next one finds, uses and finally stops;
 * one that was killed while its server came up leaves one that the next ends first: two on one database would take each other's work.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { link, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointConfigError, CheckpointError, isCheckpointError } from '../../errors.ts';
import { writeAtomically } from '../../io/local/atomic-file.ts';
import { makeFolder } from '../../io/local/folders.ts';
import { endTogether } from '../end-together.ts';
import { differencesOf, type Environment, type Reach } from '../environment.ts';
import { findTemporalBinary } from './binary.ts';
import { SERVER_GONE } from './lost.ts';
import { processMark } from './process-mark.ts';

/** Not Temporal's default ports: who finds a server there takes it for one that stays, and this one goes with its last command. */
const PORT = 7243;
const UI_PORT = 8243;
/** Milliseconds. */
const READY_TIMEOUT = 60_000;
const STOP_TIMEOUT = 5000;
const ENDING_LONGEST = 60_000;
const START_ATTEMPTS = 3;
/** Milliseconds between looks for the process of the server. */
const LOOK = 1000;
/** What the server prints once it serves. */
const READY = 'Temporal Server:';

/**
 * Without these a three-activity workflow takes 200 ms instead of 52, and timers below a second take a second. Half a second for what its queues
 * have finished: after the half minute that is usual, a server that lives as long as a command never drops any of it, and the next one goes
 * through all of it again, a second of one core for every thousand runs.
 */
const SERVER_ARGS = [
  '--sqlite-pragma',
  'journal_mode=wal',
  '--sqlite-pragma',
  'synchronous=normal',
  ...[
    'history.transferProcessorMaxPollRPS=10000',
    'history.timerProcessorMaxPollRPS=10000',
    'history.visibilityProcessorMaxPollRPS=10000',
    'history.timerProcessorMaxTimeShift="10ms"',
    'history.transferProcessorUpdateAckInterval="500ms"',
    'history.visibilityProcessorUpdateAckInterval="500ms"',
    'history.timerProcessorUpdateAckInterval="500ms"',
    'matching.numTaskqueueReadPartitions=1',
    'matching.numTaskqueueWritePartitions=1',
    'matching.enableFairness=true',
  ].flatMap((value) => ['--dynamic-config-value', value]),
];

interface BringUp {
  readonly log: (line: string) => void;
  /** Takes a line for people. */
  readonly note?: ((line: string) => void) | undefined;
  readonly environment: Environment;
  /** Called when a server has been started and is not up yet. */
  readonly meanwhile?: (() => void) | undefined;
}

interface Acquisition extends BringUp {
  readonly keeps?: boolean;
  /** Default: true. */
  readonly hasWorker?: boolean;
}

interface ServerRecord {
  readonly pid: number;
  readonly port: number;
  readonly uiPort: number;
  /** When the server was told to end, in milliseconds since the epoch. Ending takes about a second; only a command that starts a new server waits for it. */
  readonly endingSince?: number;
  /** It has not said yet that it is up; the mark of its process, as the command that waited for it may be gone. */
  readonly starting?: string;
}

/** In a lease beside the process: it keeps a worker, too, until somebody stops it. */
const KEEPS = 'keeps';

export interface DevServer {
  readonly address: string;
  readonly uiUrl: string;
  readonly pid: number;
  /** Another process keeps it and a worker up. */
  readonly stays: boolean;
  /** Variables in which a process differs whose worker is up here: it would take this one's stages, and this one its. */
  readonly differsIn: readonly string[];
  /** Rejects with a `CheckpointError` once its process is gone, which nobody who holds a lease has asked for. */
  gone(signal: AbortSignal): Promise<never>;
  /** Gives the lease up; the last one stops the server. */
  release(): Promise<void>;
}

export async function acquireDevServer({
  log,
  note,
  environment,
  meanwhile,
  keeps = false,
  hasWorker = true,
}: Acquisition): Promise<DevServer> {
  const folder = environment.stateFolder;
  await makeFolder(join(folder, 'leases')).catch(rejectUnwritable(folder));
  const lease = join(folder, 'leases', String(process.pid));
  const server = await locked(folder, async () => {
    const living = await runningServer(folder);
    const found = living ?? (await start({ log, note, environment, meanwhile }));
    const stays = await isKept(folder);
    const others = (await leases(folder)).filter(({ living, reach }) => living && reach !== null);
    const differsIn = [...new Set(others.flatMap(({ reach }) => differencesOf(environment.reach, reach!)))];
    // One that differs will have none.
    const reach = hasWorker && differsIn.length === 0 ? environment.reach : null;
    const says = [processMark(process.pid) ?? '', keeps ? KEEPS : '', JSON.stringify(reach)].join('\n');
    await writeFile(lease, says).catch(rejectUnwritable(folder));
    return { ...found, stays, differsIn };
  });
  return {
    ...placesOf(server),
    pid: server.pid,
    stays: server.stays,
    differsIn: server.differsIn,
    gone: (signal) => untilGone(server.pid, folder, signal),
    release: () =>
      locked(folder, async () => {
        await rm(lease, { force: true });
        const all = await leases(folder);
        for (const { path, living } of all) if (!living) await rm(path, { force: true });
        if (all.some(({ living }) => living)) return;
        // Where ours was killed, another command has brought up the one that is there now.
        const { pid, port, uiPort } = (await runningServer(folder)) ?? server;
        if (!(await isTemporal(pid))) return rm(join(folder, 'server.json'), { force: true });
        tell(pid, 'SIGTERM');
        await writeRecord(folder, { pid, port, uiPort, endingSince: Date.now() });
      }),
  };
}

async function untilGone(pid: number, folder: string, signal: AbortSignal): Promise<never> {
  while (!signal.aborted && (await isTemporal(pid))) await sleep(LOOK, undefined, { signal }).catch(() => undefined);
  if (signal.aborted) return new Promise(() => undefined);
  throw new CheckpointError(
    `The embedded Temporal server (process ${pid}) has ended by itself, or somebody has ended it. Its log: ${join(folder, 'server.log')}. What it knew is on the disk: the next command brings it up again (\`ckpt dev\` keeps it), and what runs goes on where it was.`,
    { retryable: false, details: { reason: SERVER_GONE, pid } },
  );
}

/** The server of a record whose process lives and is to go on; null otherwise, a damaged record included. */
export async function runningServer(folder: string): Promise<ServerRecord | null> {
  const record = await readRecord(folder);
  if (record === null || record.endingSince !== undefined || record.starting !== undefined) return null;
  return (await isTemporal(record.pid)) ? record : null;
}

async function readRecord(folder: string): Promise<ServerRecord | null> {
  const text = await readFile(join(folder, 'server.json'), 'utf8').catch(() => null);
  return text === null ? null : parseRecord(text);
}

/** The system's refusals name the file at best, and none once it is open. */
function rejectUnwritable(folder: string): (cause: unknown) => never {
  return (cause) => {
    if (isCheckpointError(cause) || !(cause instanceof Error) || !('syscall' in cause)) throw cause;
    throw new CheckpointConfigError(
      `The state folder ${folder} cannot be written: ${cause.message}. Make room there, or set XDG_STATE_HOME to a folder that this user can write.`,
      undefined,
      { cause, details: { folder } },
    );
  };
}

function writeRecord(folder: string, record: ServerRecord): Promise<void> {
  return writeAtomically(join(folder, 'server.json'), JSON.stringify(record));
}

/** A process keeps the server of this folder up until somebody stops it. */
export async function isKept(folder: string): Promise<boolean> {
  return (await leases(folder)).some(({ living, says }) => living && says === KEEPS);
}

export function placesOf({ port, uiPort }: ServerRecord): Pick<DevServer, 'address' | 'uiUrl'> {
  return { address: `127.0.0.1:${port}`, uiUrl: `http://127.0.0.1:${uiPort}` };
}

function parseRecord(text: string): ServerRecord | null {
  try {
    const record = JSON.parse(text) as Partial<ServerRecord> | null;
    const whole = [record?.pid, record?.port, record?.uiPort].every(Number.isSafeInteger);
    return whole ? (record as ServerRecord) : null;
  } catch {
    return null;
  }
}

async function start({ log, note, environment, meanwhile = () => undefined }: BringUp): Promise<ServerRecord> {
  const program = await findTemporalBinary({ log, note, environment });
  const folder = environment.stateFolder;
  await waitForEnd(folder);
  await removeDeadLocks(folder);
  for (let attempt = 1; ; attempt++) {
    // Between looking for a free port and taking it, another process may take it: then the server ends at once.
    const [port, uiPort] = attempt === 1 ? [await freePort(PORT), await freePort(UI_PORT)] : [await freePort(0), await freePort(0)];
    const { pid, failure } = await startAt(program, { folder, port, uiPort, meanwhile });
    if (failure === null) {
      const record: ServerRecord = { pid, port, uiPort };
      await writeRecord(folder, record);
      log(`temporal: server ${pid} up at 127.0.0.1:${port}, UI at ${uiPort}`);
      return record;
    }
    log(`temporal: the server did not come up at 127.0.0.1:${port} (${failure})`);
    if (attempt === START_ATTEMPTS)
      throw new CheckpointError(`The embedded Temporal server did not come up (${failure}). Its log: ${join(folder, 'server.log')}.`, {
        retryable: false,
      });
  }
}

/** One that was told to end, or whose command has ended while it came up, is gone before the next begins. */
async function waitForEnd(folder: string): Promise<void> {
  const record = await readRecord(folder);
  if (record === null) return;
  // Long after, the pid may be that of any program.
  const ending = record.endingSince !== undefined && Date.now() - record.endingSince < ENDING_LONGEST;
  const starting = record.starting !== undefined && record.starting === processMark(record.pid);
  if (ending || starting) await stop(record.pid);
}

/** Waits for the server's own word that it is up: that something answers at the port proves nothing, it may be another's. */
async function startAt(
  program: string,
  {
    folder,
    port,
    uiPort,
    meanwhile,
  }: { readonly folder: string; readonly port: number; readonly uiPort: number; readonly meanwhile: () => void },
): Promise<{ readonly pid: number; readonly failure: string | null }> {
  const output = await open(join(folder, 'server.log'), 'a+');
  const { size: before } = await output.stat();
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', `${port}`, '--ui-port', `${uiPort}`];
  const options = ['--log-level', 'error', '--db-filename', join(folder, 'temporal.db'), ...SERVER_ARGS];
  // Detached: Ctrl-C goes to the whole process group, and the server must outlive the clean-up.
  const child = spawn(program, [...args, ...options], { detached: true, stdio: ['ignore', output.fd, output.fd] });
  let ended: string | null = null;
  child.on('error', (error) => (ended = error.message)).on('exit', (code) => (ended = `it ended with code ${code}`));
  child.unref();
  const release = endTogether(child, 'SIGTERM');
  const mark = child.pid === undefined ? null : processMark(child.pid);
  if (mark !== null) await writeRecord(folder, { pid: child.pid!, port, uiPort, starting: mark });
  meanwhile();
  const said = async (): Promise<string> => {
    const { size } = await output.stat();
    const { buffer } = await output.read(Buffer.alloc(size - before), 0, size - before, before);
    return buffer.toString('utf8');
  };
  try {
    const deadline = Date.now() + READY_TIMEOUT;
    while (ended === null && Date.now() < deadline) {
      if ((await said()).includes(READY) && (await answers(`127.0.0.1:${port}`))) return { pid: child.pid!, failure: null };
      await sleep(50);
    }
    if (child.pid !== undefined && ended === null) await stop(child.pid);
    const last = (await said()).trim().split('\n').at(-1) ?? '';
    return { pid: child.pid ?? 0, failure: `${ended ?? 'no answer in a minute'}${last === '' ? '' : `: ${last.slice(0, 300)}`}` };
  } finally {
    release();
    await output.close();
  }
}

/** True when a Temporal server at the address knows the namespace `default`. */
export async function answers(address: string): Promise<boolean> {
  // A refusal costs a millisecond here; the client would try again until its deadline.
  if (!(await listens(address))) return false;
  const { openConnection } = await import('./connection.ts');
  const { connection, close } = openConnection({ address, connectTimeout: 2000 });
  try {
    await connection.withDeadline(Date.now() + 2000, () => connection.workflowService.describeNamespace({ namespace: 'default' }));
    return true;
  } catch {
    return false;
  } finally {
    await close();
  }
}

function listens(address: string): Promise<boolean> {
  const { hostname: host, port } = new URL(`tcp://${address}`);
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), timeout: 2000 });
    const end = (found: boolean) => (): void => {
      socket.destroy();
      resolve(found);
    };
    socket.once('connect', end(true)).once('error', end(false)).once('timeout', end(false));
  });
}

async function stop(pid: number): Promise<void> {
  if (!(await isTemporal(pid))) return;
  tell(pid, 'SIGTERM');
  const deadline = Date.now() + STOP_TIMEOUT;
  while (Date.now() < deadline) {
    if (!(await isTemporal(pid))) return;
    await sleep(50);
  }
  // Safe: the database has a write-ahead log.
  if (await isTemporal(pid)) tell(pid, 'SIGKILL');
}

/** Since it was looked at, the server may have ended by itself. */
function tell(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

interface Lease {
  readonly path: string;
  readonly living: boolean;
  readonly says: string;
  /** Of its worker; null: it has none. */
  readonly reach: Reach | null;
}

async function leases(folder: string): Promise<readonly Lease[]> {
  const names = await readdir(join(folder, 'leases')).catch(() => []);
  return Promise.all(
    names.map(async (name) => {
      const path = join(folder, 'leases', name);
      const [mark, says = '', reach = ''] = (await readFile(path, 'utf8').catch(() => '')).split('\n');
      return { path, says, reach: parseReach(reach), living: mark !== '' && processMark(Number(name)) === mark };
    }),
  );
}

function parseReach(text: string): Reach | null {
  try {
    return JSON.parse(text) as Reach | null;
  } catch {
    return null;
  }
}

/** Pids are used again: where the system says what a process runs, it must be `temporal`, and no zombie. */
async function isTemporal(pid: number): Promise<boolean> {
  if (processMark(pid) === null) return false;
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null);
  return command === null ? process.platform !== 'linux' : command.includes('start-dev');
}

/** `wanted`, or any free port where that is taken. */
async function freePort(wanted: number): Promise<number> {
  return (await tryListen(wanted)) ?? (await tryListen(0)) ?? wanted;
}

function tryListen(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const { port: got } = server.address() as { port: number };
      server.close(() => resolve(got));
    });
  });
}

/** One process at a time starts or stops the server; a lock whose process is gone is taken over. */
async function locked<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const lock = join(folder, 'lock');
  const mine = join(folder, `lock.${process.pid}.${randomUUID()}`);
  try {
    // Made aside and linked, so that a lock always says whose it is.
    await writeFile(mine, `${process.pid} ${processMark(process.pid)}`).catch(rejectUnwritable(folder));
    while (!(await link(mine, lock).then(yes, no))) {
      const holder = await readFile(lock, 'utf8').catch(() => null);
      if (holder !== null && !holds(holder)) await breakLock(lock, `${mine}.broken`, holder);
      else await sleep(50);
    }
    try {
      return await work();
    } finally {
      await rm(lock, { force: true });
    }
  } finally {
    await rm(mine, { force: true });
  }
}

/** What processes that were killed have made aside. */
async function removeDeadLocks(folder: string): Promise<void> {
  const asides = (await readdir(folder)).filter((name) => name.startsWith('lock.'));
  await Promise.all(
    asides.flatMap((name) => (processMark(Number(name.split('.')[1])) === null ? [rm(join(folder, name), { force: true })] : [])),
  );
}

/** Of several that see the same dead lock one moves it away; what turns out to be a newer one is put back. */
async function breakLock(lock: string, aside: string, holder: string): Promise<void> {
  if (!(await rename(lock, aside).then(yes, no))) return;
  if ((await readFile(aside, 'utf8')) !== holder) await link(aside, lock).catch(() => undefined);
  await rm(aside, { force: true });
}

function holds(holder: string): boolean {
  const [pid = '', ...mark] = holder.split(' ');
  return processMark(Number(pid)) === mark.join(' ');
}

const yes = (): boolean => true;
const no = (): boolean => false;
