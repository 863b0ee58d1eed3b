/**
 * The embedded Temporal server: the official dev server on a database file in the user's state folder, shared by all `ckpt`
 * processes of the user.
 *
 * Each process holds a lease (a file named by its pid); the last one to leave tells the server to end, and a lease of a process that
 * is gone counts for nothing, also where its pid is taken again. So a killed CLI leaves a server that the next one finds, uses and finally stops;
 * one that was killed while its server came up leaves one that the next ends first: two on one database would take each other's work.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointError } from '../../../errors.ts';
import { differencesOf } from '../../environment.ts';
import { SERVER_GONE } from '../lost.ts';
import { startServer, type BringUp } from './bring-up.ts';
import { dropLease, livingLeases, makeLeases, writeLease } from './leases.ts';
import { locked } from './lock.ts';
import { isServer, tell } from './server-process.ts';
import { forgetServer, runningServer, writeRecord, type ServerRecord } from './server-record.ts';

/** Milliseconds between looks for the process of the server. */
const LOOK = 1000;

interface Acquisition extends BringUp {
  readonly keeps?: boolean;
  /** Default: true. */
  readonly hasWorker?: boolean;
}

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

export async function acquireDevServer({ keeps = false, hasWorker = true, ...bringUp }: Acquisition): Promise<DevServer> {
  const { environment } = bringUp;
  const folder = environment.stateFolder;
  await makeLeases(folder);
  const server = await locked(folder, async () => {
    const found = (await runningServer(folder)) ?? (await startServer(bringUp));
    const others = await livingLeases(folder);
    const differsIn = [...new Set(others.flatMap(({ reach }) => (reach === null ? [] : differencesOf(environment.reach, reach))))];
    // One that differs will have none.
    await writeLease(folder, { keeps, reach: hasWorker && differsIn.length === 0 ? environment.reach : null });
    return { ...found, stays: others.some((each) => each.keeps), differsIn };
  });
  return {
    ...placesOf(server),
    pid: server.pid,
    stays: server.stays,
    differsIn: server.differsIn,
    gone: (signal) => untilGone(server.pid, folder, signal),
    release: () =>
      locked(folder, async () => {
        if (await dropLease(folder)) return;
        // Where ours was killed, another command has brought up the one that is there now.
        const { pid, port, uiPort } = (await runningServer(folder)) ?? server;
        if (!(await isServer(pid))) return forgetServer(folder);
        tell(pid, 'SIGTERM');
        await writeRecord(folder, { pid, port, uiPort, endingSince: Date.now() });
      }),
  };
}

async function untilGone(pid: number, folder: string, signal: AbortSignal): Promise<never> {
  while (!signal.aborted && (await isServer(pid))) await sleep(LOOK, undefined, { signal }).catch(() => undefined);
  if (signal.aborted) return new Promise(() => undefined);
  throw new CheckpointError(
    `The embedded Temporal server (process ${pid}) has ended by itself, or somebody has ended it. Its log: ${join(folder, 'server.log')}. What it knew is on the disk: the next command brings it up again (\`ckpt dev\` keeps it), and what runs goes on where it was.`,
    { retryable: false, details: { reason: SERVER_GONE, pid } },
  );
}

/** A process keeps the server of this folder up until somebody stops it. */
export async function isKept(folder: string): Promise<boolean> {
  return (await livingLeases(folder)).some(({ keeps }) => keeps);
}

export function placesOf({ port, uiPort }: ServerRecord): Pick<DevServer, 'address' | 'uiUrl'> {
  return { address: `127.0.0.1:${port}`, uiUrl: `http://127.0.0.1:${uiPort}` };
}
