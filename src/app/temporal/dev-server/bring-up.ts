/** Starts the server of a folder, and waits until it is up. */
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointError } from '../../../errors.ts';
import { endTogether } from '../../end-together.ts';
import type { Environment } from '../../environment.ts';
import { findTemporalBinary } from '../binary.ts';
import { processMark } from '../process-mark.ts';
import { removeDeadLocks } from './lock.ts';
import { stop } from './server-process.ts';
import { readRecord, writeRecord, type ServerRecord } from './server-record.ts';

/** Not Temporal's default ports: who finds a server there takes it for one that stays, and this one goes with its last command. */
const PORT = 7243;
const UI_PORT = 8243;
/** Milliseconds. */
const READY_TIMEOUT = 60_000;
const ENDING_LONGEST = 60_000;
const START_ATTEMPTS = 3;

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

export interface BringUp {
  readonly log: (line: string) => void;
  /** Takes a line for people. */
  readonly note?: ((line: string) => void) | undefined;
  readonly environment: Environment;
  /** Called when a server has been started and is not up yet. */
  readonly meanwhile?: (() => void) | undefined;
}

export async function startServer({ log, note, environment, meanwhile = () => undefined }: BringUp): Promise<ServerRecord> {
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
  const { openConnection } = await import('../connection.ts');
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
