/** Processes that hold the server: a file for each, named by its pid. Of one that is gone it counts for nothing, also where its pid is taken again. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../../../io/local/folders.ts';
import type { Reach } from '../../environment.ts';
import { processMark } from '../process-mark.ts';
import { rejectUnwritable } from './state-folder.ts';

/** In a lease beside the process: it keeps a worker, too, until somebody stops it. */
const KEEPS = 'keeps';

export interface Lease {
  /** Its process keeps the server and a worker up until somebody stops it. */
  readonly keeps: boolean;
  /** Of its worker; null: it has none. */
  readonly reach: Reach | null;
}

interface Found extends Lease {
  readonly path: string;
  readonly living: boolean;
}

/** That of this process. */
function leaseIn(folder: string): string {
  return join(folderOf(folder), String(process.pid));
}

export async function makeLeases(folder: string): Promise<void> {
  await makeFolder(folderOf(folder)).catch(rejectUnwritable(folder));
}

/** Takes down, or anew, what this process holds the server for. */
export async function writeLease(folder: string, { keeps, reach }: Lease): Promise<void> {
  const says = [processMark(process.pid) ?? '', keeps ? KEEPS : '', JSON.stringify(reach)].join('\n');
  await writeFile(leaseIn(folder), says).catch(rejectUnwritable(folder));
}

/** Gives that of this process up, and removes those of processes that are gone; whether others are left. */
export async function dropLease(folder: string): Promise<boolean> {
  await rm(leaseIn(folder), { force: true });
  const all = await leases(folder);
  for (const { path, living } of all) if (!living) await rm(path, { force: true });
  return all.some(({ living }) => living);
}

export async function livingLeases(folder: string): Promise<readonly Lease[]> {
  return (await leases(folder)).filter(({ living }) => living);
}

async function leases(folder: string): Promise<readonly Found[]> {
  const names = await readdir(folderOf(folder)).catch(() => []);
  return Promise.all(
    names.map(async (name) => {
      const path = join(folderOf(folder), name);
      const [mark, says = '', reach = ''] = (await readFile(path, 'utf8').catch(() => '')).split('\n');
      return { path, keeps: says === KEEPS, reach: parseReach(reach), living: mark !== '' && processMark(Number(name)) === mark };
    }),
  );
}

function folderOf(folder: string): string {
  return join(folder, 'leases');
}

function parseReach(text: string): Reach | null {
  try {
    return JSON.parse(text) as Reach | null;
  } catch {
    return null;
  }
}
